"""DINOv2's image towers, as transformers' Dinov2Model has them; those with SwiGLU or registers are not read."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from composeret_jax.models.encoders.transformer import Compute
from composeret_jax.models.encoders.vit import Colours, Dinov2Vit, VitConfig
from composeret_jax.pretrained.slots import (
  config_of,
  feed_forward_slots,
  layer_norm_slots,
  linear_slots,
  patches_slots,
  prefixed,
  reshaped,
  same,
  Slots,
)


def build_vit(fields: Mapping[str, Any], image_size: int, colours: Colours, compute: Compute) -> Dinov2Vit:
  """The tower of a config.json, for images of `image_size`."""
  sizes = {"image_size": image_size, "intermediate_size": int(fields["hidden_size"] * fields["mlp_ratio"])}
  return Dinov2Vit(config_of(VitConfig, {**fields, **sizes}), colours, compute, rngs=nnx.Rngs(0))


def vit_slots(tower: Dinov2Vit) -> Slots:
  """The names in published files."""
  embeddings = tower.embeddings
  class_token: Any = embeddings.class_token  # every DINOv2 has one
  slots = {
    "embeddings.cls_token": reshaped(class_token, (1, 1, class_token.size)),
    "embeddings.position_embeddings": reshaped(embeddings.positions, (1, *embeddings.positions.shape)),
    **prefixed("embeddings.patch_embeddings.projection.", patches_slots(embeddings.patches)),
    **prefixed("layernorm.", layer_norm_slots(tower.norm)),
  }
  for i, layer in enumerate(tower.layers):
    layer_slots = {
      **prefixed("norm1.", layer_norm_slots(layer.attention_norm)),
      **prefixed("attention.attention.query.", linear_slots(layer.attention.query)),
      **prefixed("attention.attention.key.", linear_slots(layer.attention.key)),
      **prefixed("attention.attention.value.", linear_slots(layer.attention.value)),
      **prefixed("attention.output.dense.", linear_slots(layer.attention.out)),
      "layer_scale1.lambda1": same(layer.attention_scale),
      **prefixed("norm2.", layer_norm_slots(layer.norm)),
      **prefixed("mlp.", feed_forward_slots(layer.feed_forward)),
      "layer_scale2.lambda1": same(layer.scale),
    }
    slots |= prefixed(f"encoder.layer.{i}.", layer_slots)
  return slots
