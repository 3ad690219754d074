"""A BERT of a few weights, in files as the hub has them."""

import json
import pathlib

from flax import nnx
import numpy as np
from safetensors.numpy import save_file

from composeret_jax.models.encoders.bert import Bert, BertConfig
from composeret_jax.pretrained.bert import bert_slots
from tests.fakes import tiny

CONFIG = {
  "model_type": "bert",
  "vocab_size": 40,
  "hidden_size": 8,
  "num_hidden_layers": 2,
  "num_attention_heads": 2,
  "intermediate_size": 16,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.0,
  "attention_probs_dropout_prob": 0.0,
  "max_position_embeddings": 12,
  "type_vocab_size": 2,
  "layer_norm_eps": 1e-12,
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*tiny.ADJECTIVES, *tiny.NOUNS, "black", "##er", "is", "and", "long", "sleeve", "##s", ",")


def make(folder: pathlib.Path, seed: int = 0) -> pathlib.Path:
  """A folder with config.json, vocab.txt and random weights."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(CONFIG))
  (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n")
  save_file(random_tensors(seed), folder / "model.safetensors")
  return folder


def random_tensors(seed: int) -> dict[str, np.ndarray]:
  """Tensors of the right names and shapes."""
  config = BertConfig(**{name: value for name, value in CONFIG.items() if name != "model_type"})
  slots = bert_slots(Bert(config, "last_mean", rngs=nnx.Rngs(0)))
  rng = np.random.default_rng(seed)
  return {name: rng.normal(0, 0.5, slot.shape).astype(np.float32) for name, slot in slots.items()}
