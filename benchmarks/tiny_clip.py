"""A CLIP of two layers and random weights for a folder of named images, and the captions that these names make.

python -m benchmarks.tiny_clip --images=data/emoji_states/images --output=data/tiny_clip

Folders of the images are named "state object". Writes captions.csv (image, caption, keywords: the object's words) and
random_clip/, a folder as transformers has it: 32 pixels, and a tokenizer made of the captions. docs/models.md
trains it on the captions, and then textual inversion on it.
"""

from collections.abc import Sequence
import csv
import json
import pathlib

from absl import app, flags
import numpy as np
from safetensors.numpy import save_file
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from composeret_jax.models.encoders.transformer import DEFAULT_COMPUTE
from composeret_jax.models.encoders.vit import Colours
from composeret_jax.pretrained.hub.config import with_defaults
from composeret_jax.pretrained.towers.tower_folder import IMAGE_FAMILIES, part_of, TEXT_FAMILIES

PIXELS, PATCH, WIDTH, FEATURE, LENGTH, NUM_TOKENS = 32, 8, 64, 48, 16, 2_000
START, END = "<|startoftext|>", "<|endoftext|>"
SIZES = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
CROP = {"size": {"shortest_edge": PIXELS}, "crop_size": {"height": PIXELS, "width": PIXELS}, "resample": 3}
COLOURS = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}


def write_captions(images: pathlib.Path, file: pathlib.Path) -> list[str]:
  """A row for each `images`/STATE OBJECT/FILE; the words of an object have hyphens or underscores between them."""
  rows = []
  for path in sorted(images.glob("* */*.jpg")):
    state, _, noun = path.parent.name.partition(" ")
    noun = noun.replace("-", " ").replace("_", " ")
    rows.append((path.relative_to(images).as_posix(), f"{state} {noun}", noun))
  with file.open("w", newline="") as stream:
    csv.writer(stream).writerows([("image", "caption", "keywords"), *rows])
  return [caption for _, caption, _ in rows]


def write_tokenizer(captions: Sequence[str], folder: pathlib.Path) -> int:
  """vocab.json and merges.txt, CLIP's form, of byte pairs of the captions; returns the number of tokens."""
  tokenizer = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
  tokenizer.normalizer = normalizers.Lowercase()
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(False)]
  )
  letters = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(
    vocab_size=NUM_TOKENS, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
  )
  tokenizer.train_from_iterator([*captions, *(f"a photo of {sign} , that" for sign in "*$")], trainer)
  trained = json.loads(tokenizer.to_str())["model"]
  tokens = sorted(trained["vocab"], key=trained["vocab"].__getitem__)
  tokens = [*dict.fromkeys([*tokens, *(f"{letter}</w>" for letter in sorted(letters)), START, END])]
  (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
  merges = [" ".join(merge) for merge in trained["merges"]]
  (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
  return len(tokens)


def write_towers(num_tokens: int, folder: pathlib.Path) -> None:
  """config.json, preprocessor_config.json and model.safetensors with random weights."""
  text = SIZES | {"vocab_size": num_tokens, "max_position_embeddings": LENGTH, "eos_token_id": num_tokens - 1}
  config = {"model_type": "clip", "projection_dim": FEATURE, "text_config": text}
  config |= {"vision_config": SIZES | {"image_size": PIXELS, "patch_size": PATCH}}
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "preprocessor_config.json").write_text(json.dumps(CROP | COLOURS))
  image, text_family = IMAGE_FAMILIES["clip"], TEXT_FAMILIES["clip"]
  fields = with_defaults(config)
  slots = image.slots(image.build(part_of(fields, image.part), PIXELS, Colours((), ()), DEFAULT_COMPUTE))
  slots |= text_family.slots(text_family.build(part_of(fields, text_family.part), DEFAULT_COMPUTE))
  rng = np.random.default_rng(0)
  save_file({name: initial(rng, name, slot.shape) for name, slot in slots.items()}, folder / "model.safetensors")


def initial(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Random float32 weights as large as keeps their products' size; norms and biases begin as the identity."""
  if name.endswith("bias"):
    return np.zeros(shape, np.float32)
  if "norm" in name:
    return np.ones(shape, np.float32)
  fan_in = int(np.prod(shape[1:])) or 1
  return rng.normal(0, min(0.1, fan_in**-0.5), shape).astype(np.float32)


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("images", None, "Folder with a folder STATE OBJECT of *.jpg for each.", required=True)
  flags.DEFINE_string("output", None, "Folder to write.", required=True)


def write(images: pathlib.Path, output: pathlib.Path) -> None:
  """Writes the captions, the tokenizer and the towers."""
  (output / "random_clip").mkdir(parents=True)
  captions = write_captions(images, output / "captions.csv")
  num_tokens = write_tokenizer(captions, output / "random_clip")
  write_towers(num_tokens, output / "random_clip")
  print(f"{len(captions):,} captions, {num_tokens:,} tokens in {output}")


def main(_) -> None:
  """Writes all three."""
  write(pathlib.Path(flags.FLAGS.images), pathlib.Path(flags.FLAGS.output))


if __name__ == "__main__":
  define_flags()
  app.run(main)
