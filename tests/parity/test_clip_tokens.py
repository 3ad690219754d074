"""CLIP's token ids against those of the original programs, with the published vocabulary."""

import dataclasses
import gzip
import importlib.util
import json
import pathlib

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from composeret_jax.pretrained.hub.tokenizer import read_pieces
from tests.parity import golden

LENGTH, START, END = 77, 49_406, 49_407
NUM_MERGES = 48_894


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A folder with CLIP's vocab.json and merges.txt, made from the list of merges that OpenCLIP's package holds."""
  package = importlib.util.find_spec("open_clip")
  if package is None:
    pytest.skip("open-clip-torch is not installed: it holds CLIP's vocabulary")
  packed = pathlib.Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz").read_bytes()
  merges = gzip.decompress(packed).decode().splitlines()[1 : 1 + NUM_MERGES]
  # Bytes that print come first, in their order; the others are letters from chr(256) on, which sort behind them.
  letters = sorted(pre_tokenizers.ByteLevel.alphabet())
  tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
  tokens += ["<|startoftext|>", "<|endoftext|>"]
  assert tokens.index("<|startoftext|>") == START and len(set(tokens)) == len(tokens)
  folder = tmp_path_factory.mktemp("clip")
  (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
  (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
  (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
  return folder


def test_ids_are_magic_lens(folder):
  numbers = golden.load("zero_shot/magic_lens")
  texts = json.loads(str(numbers["tokenizer/sentences"]))
  pieces = dataclasses.replace(read_pieces(folder, "clip", LENGTH), plain_signs=True)
  ids = np.maximum(pieces.encode(texts, LENGTH), 0)
  np.testing.assert_array_equal(ids, numbers["tokenizer/ids_truncated"], err_msg=str(texts))


@pytest.mark.parametrize("part", ["e2e", "compose_shared", "compose_each"])
def test_ids_of_prompts(folder, part):
  archive, name = ("lincir", "input_ids") if part == "e2e" else ("pic2word", "ids")
  numbers = golden.load(f"zero_shot/{archive}")
  shared = part == "compose_shared"
  texts = [str(numbers[f"{part}/prompt"])] if shared else json.loads(str(numbers[f"{part}/prompts"]))
  expected = numbers[f"{part}/{name}"]
  ids = read_pieces(folder, "clip", LENGTH).encode(texts, LENGTH)
  np.testing.assert_array_equal(np.where(ids < 0, expected, ids), expected)  # padding is the one's end, the other's 0
  assert (expected[ids < 0] == expected[0, -1]).all()
