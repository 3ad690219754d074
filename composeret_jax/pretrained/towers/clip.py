"""CLIP's towers, as transformers' CLIPModel has them: OpenAI's, and OpenCLIP's that were converted to it."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from composeret_jax.models.encoders.text_tower import ClipText, TextTowerConfig
from composeret_jax.models.encoders.transformer import Compute
from composeret_jax.models.encoders.vit import ClipVit, Colours, VitConfig
from composeret_jax.pretrained.slots import (
  config_of,
  layer_norm_slots,
  layers_slots,
  linear_slots,
  patches_slots,
  prefixed,
  same,
  Slots,
  text_embeddings_slots,
)


def build_vit(fields: Mapping[str, Any], image_size: int, colours: Colours, compute: Compute) -> ClipVit:
  """The image tower of a vision_config, with the `projection_dim` of the whole, for images of `image_size`."""
  config = config_of(VitConfig, {**fields, "image_size": image_size})
  return ClipVit(config, fields["projection_dim"], colours, compute, rngs=nnx.Rngs(0))


def vit_slots(tower: ClipVit) -> Slots:
  """The names of CLIPModel's image half."""
  input_norm: Any = tower.input_norm  # every CLIP has one
  return {
    "vision_model.embeddings.class_embedding": same(tower.embeddings.class_token),
    **prefixed("vision_model.embeddings.patch_embedding.", patches_slots(tower.embeddings.patches)),
    "vision_model.embeddings.position_embedding.weight": same(tower.embeddings.positions),
    **prefixed("vision_model.pre_layrnorm.", layer_norm_slots(input_norm)),  # their spelling
    **prefixed("vision_model.encoder.layers.", layers_slots(tower.layers)),
    **prefixed("vision_model.post_layernorm.", layer_norm_slots(tower.norm)),
    **prefixed("visual_projection.", linear_slots(tower.projection)),
  }


def build_text(fields: Mapping[str, Any], compute: Compute) -> ClipText:
  """The text tower of a text_config, with the `projection_dim` of the whole."""
  config = config_of(TextTowerConfig, fields)
  projection_dim, end_id = fields["projection_dim"], fields["eos_token_id"]
  return ClipText(config, projection_dim, end_id, compute, rngs=nnx.Rngs(0))


def text_slots(tower: ClipText) -> Slots:
  """The names of CLIPModel's text half."""
  return {
    **prefixed("text_model.embeddings.", text_embeddings_slots(tower.embeddings)),
    **prefixed("text_model.encoder.layers.", layers_slots(tower.layers)),
    **prefixed("text_model.final_layer_norm.", layer_norm_slots(tower.norm)),
    **prefixed("text_projection.", linear_slots(tower.projection)),
  }
