"""PyTorch's tensors, by their names, into our modules' variables, and back."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import Any, TypeVar

from flax import nnx
import jax.numpy as jnp
import numpy as np

from composeret_jax.models.encoders.text_tower import Embeddings
from composeret_jax.models.encoders.transformer import PreNormLayer, Sizes
from composeret_jax.models.layers.batch_norm import BatchNorm
from composeret_jax.models.layers.convolution import Conv2d
from data_pipelines.input_error import InputError

# PyTorch counts batches too; nothing reads the count.
IGNORED_SUFFIX = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Slot:
  """The place of one tensor: its shape, the variables of ours that it fills, and their values from it."""

  shape: tuple[int, ...]
  variables: tuple[nnx.Variable, ...]
  values: Callable[[np.ndarray], Sequence[np.ndarray]]

  def fill(self, tensor: np.ndarray) -> None:
    """Writes the tensor, which has the slot's shape, into the variables."""
    for variable, value in zip(self.variables, self.values(tensor), strict=True):
      variable[...] = jnp.asarray(value, variable.dtype)

  def read(self) -> np.ndarray:
    """The float32 tensor that would fill the variables with their present values.

    Values are moved and never changed: the numbers of a tensor's places, sent the same way, say where each came from.
    """
    tensor = np.zeros(math.prod(self.shape), np.float32)
    places = self.values(np.arange(tensor.size, dtype=np.int32).reshape(self.shape))
    for variable, place in zip(self.variables, places, strict=True):
      tensor[place] = variable[...]
    return tensor.reshape(self.shape)


Slots = dict[str, Slot]


def fill(tensors: Mapping[str, np.ndarray], slots: Slots, where: str = "the weights") -> None:
  """Fills `slots` by name.

  Raises InputError, before anything is written, that names every tensor of `where` that is missing, left over or of the
  wrong shape.
  """
  tensors = {name: np.asarray(value) for name, value in tensors.items() if not name.endswith(IGNORED_SUFFIX)}
  problems = [f"missing: {name} {slot.shape}" for name, slot in slots.items() if name not in tensors]
  problems += [f"left over: {name} {value.shape}" for name, value in tensors.items() if name not in slots]
  problems += [
    f"wrong shape: {name} is {tensors[name].shape}, expected {slot.shape}"
    for name, slot in slots.items()
    if name in tensors and tensors[name].shape != tuple(slot.shape)
  ]
  if problems:
    raise InputError(f"{where} do not fit the model:\n  " + "\n  ".join(problems))
  for name, slot in slots.items():
    slot.fill(tensors[name])


def prefixed(prefix: str, slots: Slots) -> Slots:
  """`slots` under longer names."""
  return {prefix + name: slot for name, slot in slots.items()}


def same(variable: Any) -> Slot:
  """The tensor, unchanged."""
  return Slot(variable.shape, (variable,), lambda tensor: [tensor])


def transposed(variable: Any, axes: tuple[int, ...]) -> Slot:
  """Axis i of the variable is axis `axes[i]` of the tensor."""
  shape = tuple(variable.shape[axes.index(i)] for i in range(len(axes)))
  return Slot(shape, (variable,), lambda tensor: [tensor.transpose(axes)])


def reshaped(variable: Any, shape: tuple[int, ...]) -> Slot:
  """The tensor has the variable's values, in the same order, under another shape."""
  return Slot(shape, (variable,), lambda tensor: [tensor.reshape(variable.shape)])


def linear_slots(layer: nnx.Linear) -> Slots:
  """torch.nn.Linear's names."""
  bias = {"bias": same(layer.bias)} if layer.bias is not None else {}
  return {"weight": transposed(layer.kernel, (1, 0)), **bias}


def patches_slots(layer: nnx.Linear) -> Slots:
  """The names of a torch.nn.Conv2d that does not overlap, and is a linear layer on patches here."""
  in_features, out_features = layer.kernel.shape
  size = math.isqrt(in_features // 3)
  kernel = Slot(
    (out_features, 3, size, size),
    (layer.kernel,),
    lambda tensor: [tensor.transpose(2, 3, 1, 0).reshape(in_features, out_features)],
  )
  bias = {"bias": same(layer.bias)} if layer.bias is not None else {}
  return {"weight": kernel, **bias}


def layer_norm_slots(norm: nnx.LayerNorm) -> Slots:
  """torch.nn.LayerNorm's names."""
  return {"weight": same(norm.scale), "bias": same(norm.bias)}


def batch_norm_slots(norm: BatchNorm) -> Slots:
  """torch.nn.BatchNorm's names."""
  variables = {"weight": norm.scale, "bias": norm.bias, "running_mean": norm.mean, "running_var": norm.var}
  return {name: same(variable) for name, variable in variables.items()}


def conv2d_slots(conv: Conv2d) -> Slots:
  """torch.nn.Conv2d's name."""
  return {"weight": transposed(conv.kernel, (2, 3, 1, 0))}


Config = TypeVar("Config", bound=Sizes)


def config_of(config_class: type[Config], fields: Mapping[str, Any]) -> Config:
  """A `config_class` from the `fields` that it has."""
  return config_class(**{field.name: fields[field.name] for field in dataclasses.fields(config_class)})


def layers_slots(layers: Sequence[PreNormLayer]) -> Slots:
  """CLIP's and SigLIP's names, after what stands before a layer's number."""
  slots: Slots = {}
  for i, layer in enumerate(layers):
    layer_slots = {
      **prefixed("layer_norm1.", layer_norm_slots(layer.attention_norm)),
      **prefixed("self_attn.q_proj.", linear_slots(layer.attention.query)),
      **prefixed("self_attn.k_proj.", linear_slots(layer.attention.key)),
      **prefixed("self_attn.v_proj.", linear_slots(layer.attention.value)),
      **prefixed("self_attn.out_proj.", linear_slots(layer.attention.out)),
      **prefixed("layer_norm2.", layer_norm_slots(layer.norm)),
      **prefixed("mlp.", feed_forward_slots(layer.feed_forward)),
    }
    slots |= prefixed(f"{i}.", layer_slots)
  return slots


def feed_forward_slots(feed_forward: Any) -> Slots:
  """The names that all have."""
  return prefixed("fc1.", linear_slots(feed_forward.widen)) | prefixed("fc2.", linear_slots(feed_forward.narrow))


def text_embeddings_slots(embeddings: Embeddings) -> Slots:
  """CLIP's and SigLIP's names."""
  return {
    "token_embedding.weight": same(embeddings.words),
    "position_embedding.weight": same(embeddings.positions),
  }
