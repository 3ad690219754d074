"""CLIP's towers as the fine-tuning step is timed with them: their sizes, under transformers' names, and a batch."""

import dataclasses
from typing import Any

import numpy as np

from benchmarks.random_batch import pixels_and_tokens


@dataclasses.dataclass(frozen=True)
class Towers:
  """`vision` and `text` are fields of CLIP's two configurations; what they leave out is as in ViT-B/32."""

  projection_dim: int
  vision: dict[str, Any]
  text: dict[str, Any]

  @property
  def end_id(self) -> int:
    """The token at which a text's feature is read."""
    return self.text["vocab_size"] - 1


def _half(width: int, layers: int, heads: int) -> dict[str, int]:
  sizes = {"hidden_size": width, "intermediate_size": 4 * width}
  return sizes | {"num_hidden_layers": layers, "num_attention_heads": heads}


def _text(width: int, layers: int, heads: int, vocab_size: int = 49_408, length: int = 77) -> dict[str, Any]:
  fields = {"vocab_size": vocab_size, "max_position_embeddings": length, "eos_token_id": vocab_size - 1}
  return _half(width, layers, heads) | fields


TOWERS = {
  "vit_b32": Towers(512, _half(768, 12, 12) | {"patch_size": 32, "image_size": 224}, _text(512, 12, 8)),
  "vit_l14": Towers(768, _half(1_024, 24, 16) | {"patch_size": 14, "image_size": 224}, _text(768, 12, 12)),
  "tiny": Towers(16, _half(32, 2, 4) | {"patch_size": 8, "image_size": 32}, _text(32, 2, 4, vocab_size=64, length=9)),
}


def batch_for(towers: Towers, batch_size: int) -> dict[str, np.ndarray]:
  """Pixels, and texts as long as the tower takes them, [batch, length], int32, whose last token is the end."""
  length, end_id = towers.text["max_position_embeddings"], towers.end_id
  texts = np.random.default_rng(1).integers(0, end_id, (batch_size, length), dtype=np.int32)
  texts[:, -1] = end_id
  return pixels_and_tokens(batch_size, towers.vision["image_size"]) | {"text": texts}
