"""SigLIP's towers, as transformers' SiglipModel has them: SigLIP, and SigLIP 2 of one resolution."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
import numpy as np

from composeret_jax.models.encoders.text_tower import SiglipText, TextTowerConfig
from composeret_jax.models.encoders.transformer import Compute
from composeret_jax.models.encoders.vit import AttentionPool, Colours, SiglipVit, VitConfig
from composeret_jax.pretrained.slots import (
  config_of,
  feed_forward_slots,
  layer_norm_slots,
  layers_slots,
  linear_slots,
  patches_slots,
  prefixed,
  reshaped,
  same,
  Slot,
  Slots,
  text_embeddings_slots,
)


def build_vit(fields: Mapping[str, Any], image_size: int, colours: Colours, compute: Compute) -> SiglipVit:
  """The image tower of a vision_config, for images of `image_size`."""
  config = config_of(VitConfig, {**fields, "image_size": image_size})
  return SiglipVit(config, colours, compute, rngs=nnx.Rngs(0))


def vit_slots(tower: SiglipVit) -> Slots:
  """The names of SiglipModel's image half."""
  return prefixed(
    "vision_model.",
    {
      **prefixed("embeddings.patch_embedding.", patches_slots(tower.embeddings.patches)),
      "embeddings.position_embedding.weight": same(tower.embeddings.positions),
      **prefixed("encoder.layers.", layers_slots(tower.layers)),
      **prefixed("post_layernorm.", layer_norm_slots(tower.norm)),
      **prefixed("head.", _pool_slots(tower.pool)),
    },
  )


def build_text(fields: Mapping[str, Any], compute: Compute) -> SiglipText:
  """The text tower of a text_config."""
  config = config_of(TextTowerConfig, fields)
  return SiglipText(config, fields["projection_size"], compute, rngs=nnx.Rngs(0))


def text_slots(tower: SiglipText) -> Slots:
  """The names of SiglipModel's text half."""
  return prefixed(
    "text_model.",
    {
      **prefixed("embeddings.", text_embeddings_slots(tower.embeddings)),
      **prefixed("encoder.layers.", layers_slots(tower.layers)),
      **prefixed("final_layer_norm.", layer_norm_slots(tower.norm)),
      **prefixed("head.", linear_slots(tower.projection)),
    },
  )


def _pool_slots(pool: AttentionPool) -> Slots:
  """In `attention`, a torch.nn.MultiheadAttention, query, key and value are rows of one matrix."""
  attention = pool.attention
  parts: tuple[Any, ...] = attention.query, attention.key, attention.value
  dim = attention.query.kernel.shape[1]
  return {
    "probe": reshaped(pool.query, (1, 1, pool.query.size)),
    "attention.in_proj_weight": Slot(
      (3 * dim, dim), tuple(part.kernel for part in parts), lambda tensor: [rows.T for rows in np.split(tensor, 3)]
    ),
    "attention.in_proj_bias": Slot((3 * dim,), tuple(part.bias for part in parts), lambda tensor: np.split(tensor, 3)),
    **prefixed("attention.out_proj.", linear_slots(attention.out)),
    **prefixed("layernorm.", layer_norm_slots(pool.norm)),
    **prefixed("mlp.", feed_forward_slots(pool.feed_forward)),
  }
