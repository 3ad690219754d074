"""The ways a run handles texts: LSTM, and BERT or a tower, fine-tuned or frozen, as the configuration says."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import pathlib
import sys
from typing import Any

from flax import nnx
import jax
from jaxtyping import Float
import ml_collections
import numpy as np
import tqdm

from composeret_jax.distributed import gather, largest_share
from composeret_jax.models.encoders.encoder import TextEncoder
from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.encoders.projected import FeatureTable, freeze, ProjectedTextEncoder
from composeret_jax.pretrained.bert import load_bert, MODEL_TYPE, read_bert_config
from composeret_jax.pretrained.files import find_folder, WEIGHT_FILES, weight_files
from composeret_jax.pretrained.frozen_features import fields_except, FrozenEncoder, kept_features
from composeret_jax.pretrained.hub.config import CONFIG
from composeret_jax.pretrained.hub.tokenizer import BERT_FILES, read_pieces
from composeret_jax.pretrained.towers.tower_folder import compute_of, load_text_tower, open_text_folder, TEXT_FIELD
from data_pipelines.files import file_sha256
from data_pipelines.input_error import InputError
from data_pipelines.texts.readers import RowReader, TextReader, TokenReader
from data_pipelines.texts.vocabulary import padded, PADDING, Vocabulary, WordsOfTexts
from data_pipelines.texts.wordpieces import WordPieces

# LinCIR's tokenizer of captions takes each "!" for padding, whose token differs from the token of a word "!".
LINCIR_PADDING = "!"


# Batches of texts are padded to a multiple of this, so that few lengths are compiled.
LENGTH_STEP = 16


@dataclasses.dataclass(frozen=True)
class Texts:
  """From strings to features, in two halves: `reader` in the loader, and the module of `build_encoder` in the model.

  `made_with` identifies what was read: the LSTM's `words`, or the `path` of a BERT or a tower and the `sha256` of each
  file there. A run goes on only with the same. `placeholder_id` is the token of a composer's placeholder. `features`
  gives the texts' features, where texts stand for images.
  """

  reader: TextReader
  build_encoder: Callable[[nnx.Rngs], nnx.Module]
  made_with: Mapping[str, Any]
  placeholder_id: int | None = None
  features: Callable[[Sequence[str]], Float[np.ndarray, "num feature_dim"]] | None = None

  def empty_text(self) -> tuple[int, ...] | int:
    """The encoder's input for the empty text: ids without padding at the end, or a table's row."""
    numbers = self.reader.encode([""])[0]
    if not numbers.ndim:
      return int(numbers)
    return tuple(numbers[numbers >= 0].tolist()) or (PADDING,)


def open_texts(
  encoder_config: ml_collections.ConfigDict,
  train_texts: Sequence[str],
  query_texts: Sequence[str],
  batch_size: int,
  *,
  words: Sequence[str] | None = None,
  first_words: Sequence[str] = (),
  kept_in: pathlib.Path | None = None,
  placeholder: str = "",
  are_captions: bool = False,
) -> Texts:
  """The encoder that `encoder_config` (a run's `model.text_encoder`) names, for these texts.

  A frozen BERT or tower encodes them here, `batch_size` at a time, unless their features are in the folder `kept_in`.
  `words` are those that an LSTM knows, where it was trained on other texts than `train_texts`; otherwise it knows
  `first_words` and the words of `train_texts`. With a composer's `placeholder` a frozen tower is part of the model and
  reads the tokens, as a word of each text is the image's. `are_captions` says that texts are of captions alone, which
  are read as LinCIR trains on them. Raises InputError when files cannot be used, and for texts without the placeholder.
  """
  if encoder_config.name == "lstm":
    return _lstm(encoder_config, train_texts, query_texts, words, first_words)
  texts = tuple(dict.fromkeys([*train_texts, *query_texts, ""]))  # a gallery's images may be composed with the last
  encoder, pieces, fingerprints = (_tower if encoder_config.name == "tower" else _bert)(encoder_config)
  if are_captions:
    pieces.tokenizer.add_special_tokens([LINCIR_PADDING])
  longest = pieces.warn_of_cuts(texts)
  placeholder_id = number_of_placeholder(pieces, placeholder, [*train_texts, *query_texts]) if placeholder else None
  made_from = fields_except(encoder_config, "path", "projection_dim", "words") | {"sha256": fingerprints}
  made_from |= {"special": LINCIR_PADDING} if are_captions else {}
  features_of = functools.partial(_features, encoder, pieces, batch_size, made_from, kept_in)
  if encoder_config.fine_tune or placeholder:
    trunk: Any = encoder
    reader: TextReader = TokenReader(pieces, longest)
    if not encoder_config.fine_tune:
      freeze(trunk)
  else:
    trunk = FeatureTable(features_of(texts))
    reader = RowReader(texts)

  def build_encoder(rngs: nnx.Rngs) -> nnx.Module:
    return ProjectedTextEncoder(trunk, encoder_config.projection_dim, rngs=rngs)

  made_with = {"path": encoder_config.path, "sha256": fingerprints}
  return Texts(reader, build_encoder, made_with, placeholder_id, features_of)


def _features(
  encoder: TextEncoder,
  pieces: WordPieces,
  batch_size: int,
  made_from: Mapping[str, Any],
  kept_in: pathlib.Path | None,
  texts: Sequence[str],
) -> Float[np.ndarray, "num_texts feature_dim"]:
  """The features of texts by a frozen encoder; in the folder `kept_in` where there is one."""
  encode = functools.partial(encode_texts, encoder, pieces, texts, batch_size)
  return kept_features(kept_in, "texts", {**made_from, "texts": texts}, encode) if kept_in else encode()


def number_of_placeholder(pieces: WordPieces, placeholder: str, texts: Sequence[str]) -> int:
  """The id of the one token that the placeholder is; raises InputError where it is several, and where a text lacks it.

  Of a text that is cut it may be among the tokens that are lost.
  """
  around, alone = pieces.ids(["", placeholder])
  numbers = [number for number in alone if number not in around]
  if len(numbers) != 1:
    raise InputError(
      f"the tokenizer makes {len(numbers)} tokens of {placeholder!r}, expected one, for the image's word"
    )
  distinct = list(dict.fromkeys(texts))
  without = [text for text, ids in zip(distinct, pieces.ids(distinct), strict=True) if numbers[0] not in ids]
  lacking = [text for text, is_cut in zip(without, pieces.are_cut(without), strict=True) if not is_cut]
  if lacking:
    raise InputError(
      f"{len(lacking):,} of {len(distinct):,} texts have no {placeholder!r} among the tokens that are read, expected "
      f"one for the image's word: {', '.join(map(repr, lacking[:NUM_SHOWN]))}. config.text_template can add it"
    )
  return numbers[0]


NUM_SHOWN, WORDS_FIELD = 5, "config.model.text_encoder.words"


def _check_words(splitter: str, read: WordsOfTexts) -> None:
  """Says how many training texts have no words, and raises InputError when all have none."""
  if read.wordless:
    shown = ", ".join(map(repr, read.wordless[:NUM_SHOWN])) + (", ..." if len(read.wordless) > NUM_SHOWN else "")
    message = f"{len(read.wordless):,} training texts have no words with {WORDS_FIELD}={splitter!r}: {shown}"
    if not read.words:
      raise InputError(message)
    print(message, file=sys.stderr)


def _lstm(
  encoder_config: ml_collections.ConfigDict,
  train_texts: Sequence[str],
  query_texts: Sequence[str],
  words: Sequence[str] | None,
  first_words: Sequence[str],
) -> Texts:
  splitter = encoder_config.words
  read = WordsOfTexts.of(train_texts, splitter)
  if words is None:
    _check_words(splitter, read)
    words = tuple(dict.fromkeys([*first_words, *read.words]))
  vocabulary = Vocabulary(tuple(words), splitter)
  length = max(read.longest, vocabulary.longest(query_texts), 1)

  def build_encoder(rngs: nnx.Rngs) -> nnx.Module:
    return LstmTextEncoder(
      vocabulary_size=vocabulary.size,
      embedding_dim=encoder_config.embedding_dim,
      feature_dim=encoder_config.feature_dim,
      rngs=rngs,
    )

  return Texts(TokenReader(vocabulary, length), build_encoder, {"words": list(vocabulary.words)})


def _bert(encoder_config: ml_collections.ConfigDict) -> tuple[TextEncoder, WordPieces, dict[str, str]]:
  """A BERT, its tokenizer, and the SHA-256 of each file that they were read from."""
  folder = find_folder(encoder_config.path, (CONFIG, *WEIGHT_FILES, *BERT_FILES), TEXT_FIELD)
  fields = read_bert_config(folder)
  pieces = read_pieces(folder, MODEL_TYPE, fields.max_position_embeddings)
  _check_size(folder, pieces, fields.vocab_size)
  files = [folder / CONFIG, *weight_files(folder), *(folder / name for name in BERT_FILES)]
  fingerprints = {file.name: file_sha256(file) for file in files if file.is_file()}
  return load_bert(folder, encoder_config.pooling, compute_of(encoder_config)), pieces, fingerprints


def _tower(encoder_config: ml_collections.ConfigDict) -> tuple[Any, WordPieces, dict[str, str]]:
  """As `_bert`, of a text tower."""
  folder = open_text_folder(encoder_config.path)
  tower = load_text_tower(encoder_config, folder)
  num_words, max_length = tower.embeddings.words.shape[0], tower.embeddings.positions.shape[0]
  pieces = read_pieces(folder.path, folder.kind, max_length, padded=tower.needs_padding)
  pieces = dataclasses.replace(pieces, plain_signs=encoder_config.plain_signs)
  _check_size(folder.path, pieces, num_words)
  return tower, pieces, folder.fingerprints()


def _check_size(folder: pathlib.Path, pieces: WordPieces, num_words: int) -> None:
  if pieces.size > num_words:
    raise InputError(f"{folder}: the tokenizer has ids up to {pieces.size - 1:,}, the model only {num_words:,}")


def encode_texts(
  encoder: TextEncoder, pieces: WordPieces, texts: Sequence[str], batch_size: int
) -> Float[np.ndarray, "num_texts feature_dim"]:
  """The feature of each text, `batch_size` at a time on each device, texts of like length together."""
  encode = FrozenEncoder(encoder, batch_size, lambda encoder, tokens: encoder(tokens))
  tokens = pieces.ids(texts)
  order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
  # A process has every so many of them, so that all encode texts of like length at a time.
  num_processes, own = jax.process_count(), order[jax.process_index() :: jax.process_count()]
  encoded = []
  for start in tqdm.trange(0, largest_share(len(texts)), encode.own_batch, desc="encode texts", unit=" batches"):
    longest = order[: (start + encode.own_batch) * num_processes][-1]
    length = min(-(-len(tokens[longest]) // LENGTH_STEP) * LENGTH_STEP, pieces.max_length)
    encoded.append(encode(padded([tokens[row] for row in own[start : start + encode.own_batch]], length)))
  features = np.empty((len(texts), encoder.feature_dim), np.float32)
  shares = [order[process::num_processes] for process in range(num_processes)]
  features[[row for share in shares for row in share]] = gather(np.concatenate(encoded), [len(it) for it in shares])
  return features
