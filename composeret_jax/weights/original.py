"""Parameters of the original PyTorch programs, by their names, into our modules."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

from flax import nnx
import jax.numpy as jnp
import numpy as np

from composeret_jax.composers import Composer
from composeret_jax.composers.autoencoder import AutoencoderComposer
from composeret_jax.composers.compose_ae import ComposeAE, Rotation
from composeret_jax.composers.real_space_concat_ae import RealSpaceConcatAE
from composeret_jax.composers.tirg import Tirg
from composeret_jax.encoders.lstm import Lstm, LstmTextEncoder
from composeret_jax.encoders.resnet import ResNet
from composeret_jax.layers.batch_norm import BatchNorm
from composeret_jax.layers.convolution import Conv1d, Conv2d
from composeret_jax.layers.linear import NormedMlp
from composeret_jax.model import RetrievalModel
from data_pipelines.input_error import InputError

# PyTorch counts batches too; nothing reads the count.
IGNORED_SUFFIX = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Slot:
  """Where one original tensor goes: its shape, the variables of ours that it fills, and their values from it."""

  shape: tuple[int, ...]
  variables: tuple[nnx.Variable, ...]
  values: Callable[[np.ndarray], Sequence[np.ndarray]]

  def fill(self, tensor: np.ndarray) -> None:
    """Writes the tensor, which has the slot's shape, into the variables."""
    for variable, value in zip(self.variables, self.values(tensor), strict=True):
      variable[...] = jnp.asarray(value, variable.dtype)


Slots = dict[str, Slot]


def _same(variable: nnx.Variable) -> Slot:
  return Slot(variable.shape, (variable,), lambda tensor: [tensor])


def _transposed(variable: nnx.Variable, axes: tuple[int, ...]) -> Slot:
  """Axis i of the variable is axis `axes[i]` of the tensor."""
  shape = tuple(variable.shape[axes.index(i)] for i in range(len(axes)))
  return Slot(shape, (variable,), lambda tensor: [tensor.transpose(axes)])


def _scalars(size: int, *variables: nnx.Variable) -> Slot:
  """A vector of `size` whose first entries are scalars of ours; the original never uses the rest."""
  return Slot((size,), variables, lambda tensor: tensor[: len(variables)])


def load(state_dict: Mapping[str, np.ndarray], model: RetrievalModel) -> None:
  """Fills `model` from an original checkpoint's `model_state_dict`, given as NumPy arrays.

  Raises InputError that names every tensor that is missing, left over or of the wrong shape, and for a composer whose
  original names are not known; `model` is untouched then.
  """
  fill(state_dict, model_slots(model))


def fill(state_dict: Mapping[str, np.ndarray], slots: Slots) -> None:
  """Fills `slots` by name; raises InputError, before anything is written, unless names and shapes agree."""
  tensors = {name: np.asarray(value) for name, value in state_dict.items() if not name.endswith(IGNORED_SUFFIX)}
  problems = [f"missing: {name} {slot.shape}" for name, slot in slots.items() if name not in tensors]
  problems += [f"left over: {name} {value.shape}" for name, value in tensors.items() if name not in slots]
  problems += [
    f"wrong shape: {name} is {tensors[name].shape}, expected {slot.shape}"
    for name, slot in slots.items()
    if name in tensors and tensors[name].shape != tuple(slot.shape)
  ]
  if problems:
    raise InputError("the weights do not fit the model:\n  " + "\n  ".join(problems))
  for name, slot in slots.items():
    slot.fill(tensors[name])


def model_slots(model: RetrievalModel) -> Slots:
  """Every tensor name of an original checkpoint of this kind of model."""
  return {
    **_prefixed("img_model.", resnet_slots(model.image_encoder, head="fc.0")),
    **_prefixed("text_model.", lstm_slots(model.text_encoder)),
    **composer_slots(model),
  }


def composer_slots(model: RetrievalModel) -> Slots:
  """The composer's names and the sphere's radius; raises InputError for a composer whose names are not known."""
  slots_of = COMPOSER_SLOTS.get(type(model.composer))
  if slots_of is None:
    names = ", ".join(composer.__name__ for composer in COMPOSER_SLOTS)
    raise InputError(f"original weights of {type(model.composer).__name__} cannot be read, only those of {names}")
  return {"normalization_layer.norm_s": _scalars(1, model.radius), **slots_of(model.composer)}


def compose_ae_slots(composer: ComposeAE) -> Slots:
  """ComposeAE's names; `encoderLinear` and `encoderWithConv` are its two paths."""
  conv = composer.conv_path
  return {
    **_autoencoder(composer),
    **_prefixed("encoderLinear.0.", _rotation(composer.linear_path.rotation)),
    **_prefixed("encoderLinear.1.mapping.", _normed_mlp(composer.linear_path.mapping)),
    **_prefixed("encoderWithConv.0.", _rotation(conv.rotation)),
    **_prefixed("encoderWithConv.1.mapping.", _normed_mlp(conv.mapping)),
    **_prefixed("encoderWithConv.1.conv.", _conv1d(conv.conv)),
  }


def real_space_concat_ae_slots(composer: RealSpaceConcatAE) -> Slots:
  """RealSpaceConcatAE's names: ComposeAE's without the rotations, and another one for the convolution."""
  return {
    **_autoencoder(composer),
    **_prefixed("encoderLinear.1.mapping.", _normed_mlp(composer.linear_path)),
    **_prefixed("encoderWithConv.1.mapping.", _normed_mlp(composer.conv_path.mapping)),
    **_prefixed("encoderWithConv.1.conv1.", _conv1d(composer.conv_path.conv)),
  }


def tirg_slots(composer: Tirg) -> Slots:
  """TIRG's names: its layers count a first one that joins image and text."""
  return {
    "a": _scalars(4, composer.gate_weight, composer.residual_weight),
    **_prefixed("gated_feature_composer.1.", _batch_norm(composer.gate_norm)),
    **_prefixed("gated_feature_composer.3.", _linear(composer.gate)),
    **_prefixed("res_info_composer.", _normed_mlp(composer.residual, first=1)),
  }


COMPOSER_SLOTS: dict[type[Composer], Callable[[Composer], Slots]] = {
  ComposeAE: compose_ae_slots,
  RealSpaceConcatAE: real_space_concat_ae_slots,
  Tirg: tirg_slots,
}


def lstm_slots(encoder: LstmTextEncoder) -> Slots:
  """The text encoder's names."""
  return {
    "embedding_layer.weight": _same(encoder.embedding),
    **_prefixed("lstm.", _lstm(encoder.lstm)),
    **_prefixed("fc_output.1.", _linear(encoder.head)),
  }


def resnet_slots(encoder: ResNet, head: str) -> Slots:
  """torchvision's names, with the last linear layer called `head`."""
  trunk = encoder.trunk
  slots = {**_prefixed("conv1.", _conv2d(trunk.stem)), **_prefixed("bn1.", _batch_norm(trunk.stem_norm))}
  blocks = iter(trunk.blocks)
  for stage, num_blocks in enumerate(trunk.stage_sizes, start=1):
    for index in range(num_blocks):
      slots |= _prefixed(f"layer{stage}.{index}.", _block(next(blocks)))
  return slots | _prefixed(f"{head}.", _linear(encoder.head))


def _block(block) -> Slots:
  slots = {}
  for i, (conv, norm) in enumerate([(block.conv1, block.norm1), (block.conv2, block.norm2)], start=1):
    slots |= {**_prefixed(f"conv{i}.", _conv2d(conv)), **_prefixed(f"bn{i}.", _batch_norm(norm))}
  if block.shortcut:
    slots |= _prefixed("downsample.0.", _conv2d(block.shortcut.conv))
    slots |= _prefixed("downsample.1.", _batch_norm(block.shortcut.norm))
  return slots


def _autoencoder(composer: AutoencoderComposer) -> Slots:
  return {
    "a": _scalars(4, composer.conv_weight, composer.linear_weight),
    **_prefixed("decoder.", _normed_mlp(composer.image_decoder)),
    **_prefixed("txtdecoder.", _normed_mlp(composer.text_decoder)),
  }


def _rotation(rotation: Rotation) -> Slots:
  return {
    **_prefixed("image_features.0.", _batch_norm(rotation.image_norm)),
    **_prefixed("image_features.1.", _linear(rotation.magnitude.hidden)),
    **_prefixed("image_features.4.", _linear(rotation.magnitude.out)),
    **_prefixed("bert_features.0.", _batch_norm(rotation.text_norm)),
    **_prefixed("bert_features.1.", _linear(rotation.angle.hidden)),
    **_prefixed("bert_features.3.", _linear(rotation.angle.out)),
  }


def _normed_mlp(module: NormedMlp, first: int = 0) -> Slots:
  """`first` is the place of the batch norm in the original's list of layers."""
  return {
    **_prefixed(f"{first}.", _batch_norm(module.norm)),
    **_prefixed(f"{first + 2}.", _linear(module.mlp.hidden)),
    **_prefixed(f"{first + 4}.", _linear(module.mlp.out)),
  }


def _linear(layer: nnx.Linear) -> Slots:
  return {"weight": _transposed(layer.kernel, (1, 0)), "bias": _same(layer.bias)}


def _batch_norm(norm: BatchNorm) -> Slots:
  variables = {"weight": norm.scale, "bias": norm.bias, "running_mean": norm.mean, "running_var": norm.var}
  return {name: _same(variable) for name, variable in variables.items()}


def _conv2d(conv: Conv2d) -> Slots:
  return {"weight": _transposed(conv.kernel, (2, 3, 1, 0))}


def _conv1d(conv: Conv1d) -> Slots:
  return {"weight": _transposed(conv.kernel, (2, 1, 0)), "bias": _same(conv.bias)}


def _lstm(lstm: Lstm) -> Slots:
  return {
    "weight_ih_l0": _transposed(lstm.input_kernel, (1, 0)),
    "weight_hh_l0": _transposed(lstm.hidden_kernel, (1, 0)),
    "bias_ih_l0": _same(lstm.input_bias),
    "bias_hh_l0": _same(lstm.hidden_bias),
  }


def _prefixed(prefix: str, slots: Slots) -> Slots:
  return {prefix + name: slot for name, slot in slots.items()}
