"""What the files of all towers have in common: fields of config.json, and the names of a layer's tensors."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, TypeVar

from flax import nnx

from composeret_jax.encoders.text_tower import Embeddings
from composeret_jax.encoders.transformer import Attention, PreNormLayer, Sizes
from composeret_jax.weights.slots import layer_norm_slots, linear_slots, prefixed, same, Slots

Config = TypeVar("Config", bound=Sizes)


def config_of(config_class: type[Config], fields: Mapping[str, Any]) -> Config:
  """Those of `fields` that the class has."""
  return config_class(**{field.name: fields[field.name] for field in dataclasses.fields(config_class)})


def layers_slots(layers: Sequence[PreNormLayer]) -> Slots:
  """CLIP's and SigLIP's names, after what stands before a layer's number."""
  slots = {}
  for i, layer in enumerate(layers):
    slots |= prefixed(f"{i}.", _layer_slots(layer))
  return slots


def _layer_slots(layer: PreNormLayer) -> Slots:
  return {
    **prefixed("layer_norm1.", layer_norm_slots(layer.attention_norm)),
    **prefixed("self_attn.", attention_slots(layer.attention)),
    **prefixed("layer_norm2.", layer_norm_slots(layer.norm)),
    **prefixed("mlp.", feed_forward_slots(layer.feed_forward)),
  }


def attention_slots(attention: Attention) -> Slots:
  """CLIP's and SigLIP's names."""
  names = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
  slots = {}
  for name, own in names.items():
    slots |= prefixed(f"{name}.", linear_slots(getattr(attention, own)))
  return slots


def feed_forward_slots(feed_forward: nnx.Module) -> Slots:
  """The names that all have."""
  return prefixed("fc1.", linear_slots(feed_forward.widen)) | prefixed("fc2.", linear_slots(feed_forward.narrow))


def text_embeddings_slots(embeddings: Embeddings) -> Slots:
  """CLIP's and SigLIP's names."""
  return {
    "token_embedding.weight": same(embeddings.words),
    "position_embedding.weight": same(embeddings.positions),
  }
