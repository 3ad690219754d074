"""The ways a run handles texts: LSTM, BERT that is fine-tuned, and BERT that is frozen, as the configuration says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

from flax import nnx
import jax
from jaxtyping import Float
import ml_collections
import numpy as np
import tqdm

from composeret_jax.checksums import file_sha256
from composeret_jax.devices import data_mesh, fetch, on_every_device, place, rows_split
from composeret_jax.encoders.bert import Bert
from composeret_jax.encoders.lstm import LstmTextEncoder
from composeret_jax.encoders.projected import FeatureTable, ProjectedTextEncoder
from composeret_jax.weights.bert import CONFIG, load_bert, read_config
from composeret_jax.weights.files import find_folder, WEIGHTS
from data_pipelines.input_error import InputError
from data_pipelines.texts.readers import RowReader, TextReader, TokenReader
from data_pipelines.texts.vocabulary import padded, Vocabulary
from data_pipelines.texts.wordpieces import TOKENIZER_FILES, WordPieces

FIELD = "model.text_encoder.path"

# Batches of texts are padded to a multiple of this, so that few lengths are compiled.
LENGTH_STEP = 16


@dataclasses.dataclass(frozen=True)
class Texts:
  """From strings to features, in two halves: `reader` in the loader, and the module of `build_encoder` in the model.

  `made_with` identifies what was read: the LSTM's `words`, or BERT's `path` and the `sha256` of each file there. A run
  goes on only with the same.
  """

  reader: TextReader
  build_encoder: Callable[[nnx.Rngs], nnx.Module]
  made_with: Mapping[str, Any]


def open_texts(
  config: ml_collections.ConfigDict,
  train_texts: Sequence[str],
  query_texts: Sequence[str],
  batch_size: int,
  words: Sequence[str] | None = None,
) -> Texts:
  """What `config` (the `model.text_encoder` part of a run's configuration) names, for these texts.

  A frozen BERT encodes them here, `batch_size` at a time. `words` are those that an LSTM knows, where it was trained on
  other texts than `train_texts`. Raises InputError when BERT's files cannot be used.
  """
  if config.name == "lstm":
    vocabulary = Vocabulary.from_texts(train_texts) if words is None else Vocabulary(tuple(words))
    return _lstm(config, vocabulary, [*train_texts, *query_texts])
  folder = find_folder(config.path, (CONFIG, WEIGHTS, *TOKENIZER_FILES), FIELD)
  texts = tuple(dict.fromkeys([*train_texts, *query_texts]))
  pieces = _word_pieces(folder, texts)
  bert = load_bert(folder, config.pooling)
  if config.fine_tune:
    trunk, reader = bert, TokenReader(pieces, pieces.longest(texts))
  else:
    trunk, reader = FeatureTable(encode_texts(bert, pieces, texts, batch_size)), RowReader(texts)

  def build_encoder(rngs: nnx.Rngs) -> nnx.Module:
    return ProjectedTextEncoder(trunk, config.projection_dim, rngs=rngs)

  return Texts(reader, build_encoder, {"path": config.path, "sha256": _fingerprints(folder)})


def _lstm(config: ml_collections.ConfigDict, vocabulary: Vocabulary, texts: Sequence[str]) -> Texts:
  def build_encoder(rngs: nnx.Rngs) -> nnx.Module:
    return LstmTextEncoder(
      vocabulary_size=vocabulary.size, embedding_dim=config.embedding_dim, feature_dim=config.feature_dim, rngs=rngs
    )

  length = max(vocabulary.longest(texts), 1)
  return Texts(TokenReader(vocabulary, length), build_encoder, {"words": list(vocabulary.words)})


def _word_pieces(folder: pathlib.Path, texts: Iterable[str]) -> WordPieces:
  config = read_config(folder / CONFIG)
  pieces = WordPieces.from_folder(folder, config.max_position_embeddings)
  if pieces.size > config.vocab_size:
    raise InputError(f"{folder}: the tokenizer has ids up to {pieces.size - 1:,}, the model only {config.vocab_size:,}")
  pieces.warn_of_cuts(texts)
  return pieces


def _fingerprints(folder: pathlib.Path) -> dict[str, str]:
  names = [CONFIG, WEIGHTS, *TOKENIZER_FILES]
  return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


def encode_texts(
  bert: Bert, pieces: WordPieces, texts: Sequence[str], batch_size: int
) -> Float[np.ndarray, "num_texts feature_dim"]:
  """The feature of each text, computed on all devices, texts of like length together."""
  sharding = rows_split(data_mesh())
  batch_size = -(-batch_size // sharding.num_devices) * sharding.num_devices
  bert.eval()
  graphdef, weights = nnx.split(bert)
  weights = jax.tree.map(lambda array: place(np.asarray(array), on_every_device(data_mesh())), weights)
  encode = jax.jit(lambda weights, tokens: nnx.merge(graphdef, weights)(tokens))
  tokens = pieces.ids(texts)
  order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
  features = np.empty((len(texts), bert.feature_dim), np.float32)
  for start in tqdm.trange(0, len(texts), batch_size, desc="encode texts", unit=" batches"):
    rows = order[start : start + batch_size]
    length = min(-(-len(tokens[rows[-1]]) // LENGTH_STEP) * LENGTH_STEP, pieces.max_length)
    batch = padded([tokens[row] for row in rows + rows[-1:] * (batch_size - len(rows))], length)
    features[rows] = fetch(encode(weights, place(batch, sharding)))[: len(rows)]
  return features


def check_same_texts(saved: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
  """Raises InputError when the checkpoint at `where` was `made_with` other words, or other files of BERT."""
  if saved.get("words") != now.get("words"):
    raise InputError(f"{where} was trained on other texts: the words of the data set have changed")
  old, new = saved.get("sha256", {}), now.get("sha256", {})
  changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
  if changed:
    raise InputError(
      f"{where} was trained with another BERT: {', '.join(changed)} of config.{FIELD}={now['path']} is not what "
      f"config.{FIELD}={saved['path']} held then"
    )
