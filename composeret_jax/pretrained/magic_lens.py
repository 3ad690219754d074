"""MagicLens' published checkpoints: a pickle of one bytes object, which is flax's msgpack of nested dictionaries."""

from collections.abc import Callable
import math
import pathlib
import pickletools
from typing import Any

from flax import nnx, serialization, traverse_util
import numpy as np

from composeret_jax.models.composers.magic_lens import AttentionPooler, CappedAttention, FusionLayer, MagicLens
from composeret_jax.models.encoders.text_tower import ClipText
from composeret_jax.models.encoders.transformer import Attention, PreNormLayer
from composeret_jax.models.encoders.vit import ClipVit
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.slots import prefixed, reshaped, same, Slot, Slots
from data_pipelines.input_error import InputError

# What stands in a pickle of one bytes object; nothing else is looked at, so that no file can run code.
BYTES = {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
AROUND_BYTES = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}


def read_magic_lens(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The float32 arrays of a checkpoint by their names, as `params/clip/text/ln_final/scale`.

  Raises InputError when the file is not there, or anything else than a checkpoint of MagicLens.
  """
  if not path.is_file():
    raise InputError(f"--checkpoint={path} is not a file")
  try:
    tree = serialization.msgpack_restore(_pickled_bytes(path))
    arrays = traverse_util.flatten_dict(tree, sep="/")
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}
  except InputError:
    raise
  except Exception as error:  # whatever a damaged file makes its parsers run into
    reason = str(error).partition("\n")[0][:300]
    raise InputError(f"{path} cannot be read as a checkpoint of MagicLens: {reason}") from error


def _pickled_bytes(path: pathlib.Path) -> bytes:
  found: list[Any] = []
  with path.open("rb") as file:
    for operation, argument, _ in pickletools.genops(file):
      if operation.name in BYTES:
        found.append(argument)
      elif operation.name not in AROUND_BYTES:
        raise InputError(f"{path} pickles more than bytes ({operation.name}), expected a checkpoint of MagicLens")
  if len(found) != 1:
    raise InputError(f"{path} pickles {len(found)} bytes objects, expected one: a checkpoint of MagicLens")
  return found[0]


def model_slots(model: RetrievalModel) -> Slots:
  """The names of a whole model; raises InputError where it is no MagicLens over CLIP's towers without own layers."""
  vit, text, composer = (
    getattr(model.image_encoder, "trunk", None),
    getattr(model.text_encoder, "trunk", None),
    model.composer,
  )
  if not (isinstance(vit, ClipVit) and isinstance(text, ClipText) and isinstance(composer, MagicLens)):
    raise InputError(
      "a checkpoint of MagicLens fills the composer magic_lens and two towers of CLIP that are trained: set "
      "config.model.composer, image_encoder.frozen=False and text_encoder.fine_tune=True (configs/magic_lens.py)"
    )
  if model.image_encoder.head or model.text_encoder.projection or composer.to_image_width.layer:
    raise InputError("a checkpoint of MagicLens has no layers between CLIP and the composer: set their widths to 0")
  return prefixed("params/", {**prefixed("clip/", clip_slots(vit, text)), **composer_slots(composer)})


def clip_slots(vit: ClipVit, text: ClipText) -> Slots:
  """The names of CLIP's towers; its temperature is there and is not read."""
  embeddings: Any = vit.embeddings
  input_norm: Any = vit.input_norm
  in_features, dim = embeddings.patches.kernel.shape
  size = math.isqrt(in_features // 3)
  return {
    "logit_scale": Slot((), (), lambda _: []),
    "visual/conv1/kernel": reshaped(embeddings.patches.kernel, (size, size, 3, dim)),
    "visual/class_embedding": same(embeddings.class_token),
    "visual/positional_embedding": same(embeddings.positions),
    **prefixed("visual/ln_pre/", _norm_slots(input_norm)),
    **prefixed("visual/transformer/", _named("resblocks_", vit.layers, _clip_layer_slots)),
    **prefixed("visual/ln_post/", _norm_slots(vit.norm)),
    "visual/proj/kernel": same(vit.projection.kernel),
    "text/positional_embedding": same(text.embeddings.positions),
    "text/token_embedding/embedding": same(text.embeddings.words),
    **prefixed("text/transformer/", _named("resblocks_", text.layers, _clip_layer_slots)),
    **prefixed("text/ln_final/", _norm_slots(text.norm)),
    "text/text_projection/kernel": same(text.projection.kernel),
  }


def composer_slots(composer: MagicLens) -> Slots:
  """The names of the layers after CLIP."""
  pool: AttentionPooler = composer.pool
  scale: Any = pool.attention.per_dim_scale  # the pooler's attention has one
  return {
    **prefixed("multimodal_encoder/", _named("x_layers_", composer.layers, _fusion_layer_slots)),
    **prefixed(
      "contrastive_multimodal_pooler/",
      {
        "pooling_attn_query": same(pool.query),
        **prefixed("pool_attn/", _attention_slots(pool.attention)),
        "pool_attn/per_dim_scale/per_dim_scale": same(scale),
        **prefixed("pool_attn_ln/", _norm_slots(pool.norm)),
      },
    ),
  }


def _named(name: str, layers: Any, slots_of: Callable[[Any], Slots]) -> Slots:
  slots: Slots = {}
  for number, layer in enumerate(layers):
    slots |= prefixed(f"{name}{number}/", slots_of(layer))
  return slots


def _norm_slots(norm: Any) -> Slots:
  return {"scale": same(norm.scale), "bias": same(norm.bias)}


def _clip_layer_slots(layer: PreNormLayer) -> Slots:
  feed_forward = {"c_fc": layer.feed_forward.widen, "c_proj": layer.feed_forward.narrow}
  return {
    **prefixed("ln_1/", _norm_slots(layer.attention_norm)),
    **prefixed("attn/", _clip_attention_slots(layer.attention)),
    **prefixed("ln_2/", _norm_slots(layer.norm)),
    **{f"mlp/{name}/kernel": same(linear.kernel) for name, linear in feed_forward.items()},
    **{f"mlp/{name}/bias": same(linear.bias) for name, linear in feed_forward.items()},
  }


def _clip_attention_slots(attention: Attention) -> Slots:
  """Kernels and biases are stored by head."""
  dim, heads = attention.query.kernel.shape[0], attention.num_heads
  slots = {
    "out/kernel": reshaped(attention.out.kernel, (heads, dim // heads, dim)),
    "out/bias": same(attention.out.bias),
  }
  for name, linear in (("query", attention.query), ("key", attention.key), ("value", attention.value)):
    slots[f"{name}/kernel"] = reshaped(linear.kernel, (dim, heads, dim // heads))
    slots[f"{name}/bias"] = reshaped(linear.bias, (heads, dim // heads))
  return slots


def _fusion_layer_slots(layer: FusionLayer) -> Slots:
  return {
    **prefixed("layer_norm/", _norm_slots(layer.attention_norm)),
    **prefixed("self_attention/", _attention_slots(layer.attention)),
    **prefixed("ff_layer/layer_norm/", _norm_slots(layer.norm)),
    **prefixed("ff_layer/ffn_layer1/", _linear_slots(layer.widen)),
    **prefixed("ff_layer/ffn_layer2/", _linear_slots(layer.narrow)),
  }


def _linear_slots(linear: nnx.Linear) -> Slots:
  return {"linear/w": same(linear.kernel), "bias/b": same(linear.bias)}


def _attention_slots(attention: CappedAttention) -> Slots:
  """As CLIP's, but that the output's kernel has the features it gives first."""
  dim, inner = attention.query.kernel.shape
  by_head = attention.num_heads, inner // attention.num_heads
  out: Any = attention.out
  slots = {
    "post/w": Slot((dim, *by_head), (out.kernel,), lambda tensor: [tensor.reshape(dim, inner).T]),
    "post/b": same(out.bias),
  }
  for name, linear in (("query", attention.query), ("key", attention.key), ("value", attention.value)):
    slots[f"{name}/w"] = reshaped(linear.kernel, (dim, *by_head))
    slots[f"{name}/b"] = reshaped(linear.bias, by_head)
  return slots
