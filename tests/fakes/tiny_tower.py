"""Image and text towers of a few weights, in folders as the hub has them."""

import io
import json
import pathlib

import ml_collections
import numpy as np
from safetensors.numpy import save_file
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from composeret_jax.models.encoders.transformer import DEFAULT_COMPUTE
from composeret_jax.models.encoders.vit import Colours
from composeret_jax.pretrained.hub.config import with_defaults
from composeret_jax.pretrained.towers.tower_folder import IMAGE_FAMILIES, part_of, TEXT_FAMILIES
from tests.fakes import tiny

IMAGE_SIZE, PATCH_SIZE, MAX_LENGTH = 16, 8, 12
WORDS = (*tiny.ADJECTIVES, *tiny.NOUNS, "black", "blacker", "is", "and", "long", "sleeves")


def clip_tokens() -> tuple[list[str], list[str]]:
  """Tokens by their ids, and the merges that make one of each of WORDS."""
  letters = sorted(pre_tokenizers.ByteLevel.alphabet())
  tokens, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
  for word in WORDS:
    pieces = [*word[:-1], f"{word[-1]}</w>"]
    merges += [f"{''.join(pieces[:end])} {pieces[end]}" for end in range(1, len(pieces))]
    tokens += ["".join(pieces[: end + 1]) for end in range(1, len(pieces))]
  return [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"], list(dict.fromkeys(merges))


CLIP_TOKENS, CLIP_MERGES = clip_tokens()

SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = SMALL | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
TEXT = SMALL | {"vocab_size": len(CLIP_TOKENS), "max_position_embeddings": MAX_LENGTH}

CONFIGS = {
  "clip": {
    "model_type": "clip",
    "projection_dim": 6,
    "vision_config": VISION,
    "text_config": TEXT | {"eos_token_id": len(CLIP_TOKENS) - 1},
  },
  "siglip": {"model_type": "siglip", "vision_config": VISION, "text_config": TEXT},
  "dinov2": {"model_type": "dinov2", "mlp_ratio": 2} | {k: v for k, v in VISION.items() if k != "intermediate_size"},
}
COLOURS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
CROP = {"size": {"shortest_edge": IMAGE_SIZE}, "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}, "resample": 3}
PREPROCESSING = {
  "clip": CROP | COLOURS,
  "siglip": {"size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}, "resample": 2} | COLOURS,
  "dinov2": CROP | COLOURS,
}


def make(folder: pathlib.Path, kind: str = "clip", seed: int = 0) -> pathlib.Path:
  """A folder with configuration, random weights, preprocessing and, but for DINOv2, a tokenizer."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(CONFIGS[kind]))
  (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING[kind]))
  save_file(random_tensors(kind, seed), folder / "model.safetensors")
  if kind == "clip":
    write_clip_tokenizer(folder)
  if kind == "siglip":
    write_siglip_tokenizer(folder)
  return folder


def random_tensors(kind: str, seed: int) -> dict[str, np.ndarray]:
  """Tensors of the right names and shapes."""
  slots = {}
  for families, arguments in (
    (IMAGE_FAMILIES, (IMAGE_SIZE, Colours((), ()), DEFAULT_COMPUTE)),
    (TEXT_FAMILIES, (DEFAULT_COMPUTE,)),
  ):
    if kind in families:
      family = families[kind]
      slots |= family.slots(family.build(part_of(with_defaults(CONFIGS[kind]), family.part), *arguments))
  rng = np.random.default_rng(seed)
  return {name: rng.normal(0, 0.3, slot.shape).astype(np.float32) for name, slot in slots.items()}


def write_clip_tokenizer(folder: pathlib.Path) -> None:
  """vocab.json and merges.txt."""
  (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(CLIP_TOKENS)}))
  (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(CLIP_MERGES) + "\n")


def write_siglip_tokenizer(folder: pathlib.Path) -> None:
  """A tokenizer.json of whole words with </s> at the end, which is the padding too."""
  numbers = {token: number for number, token in enumerate(("<unk>", "</s>", *WORDS))}
  tokenizer = tokenizers.Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
  tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
  tokenizer.save(str(folder / "tokenizer.json"))
  (folder / "tokenizer_config.json").write_text(
    json.dumps({"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>", "model_max_length": MAX_LENGTH})
  )


def write_sentencepiece(folder: pathlib.Path, tokenizer_class: str = "SiglipTokenizer", **options) -> None:
  """A spiece.model of WORDS and letters in place of a tokenizer.json, its ids as T5's: padding, </s>, <unk>."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter([" ".join(WORDS)] * 20),
    model_writer=model,
    vocab_size=100,
    hard_vocab_limit=False,
    pad_id=0,
    eos_id=1,
    unk_id=2,
    bos_id=-1,
    minloglevel=2,
  )
  (folder / "spiece.model").write_bytes(model.getvalue())
  (folder / "tokenizer.json").unlink(missing_ok=True)
  (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class} | options))


def use(config: ml_collections.ConfigDict, folder: pathlib.Path, kind: str = "clip") -> ml_collections.ConfigDict:
  """The configuration with both towers of a folder, frozen, and pixels as they want them."""
  config.data.image_size = IMAGE_SIZE
  config.data.update(resize="squash" if kind == "siglip" else "crop")
  config.data.update(interpolation="bilinear" if kind == "siglip" else "bicubic")
  config.model.image_encoder.update(name="tower", pretrained=str(folder), feature_dim=0, frozen=True)
  if kind in TEXT_FAMILIES:
    config.model.text_encoder.update(name="tower", path=str(folder))
  return config
