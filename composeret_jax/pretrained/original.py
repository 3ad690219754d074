"""Parameters of the original PyTorch programs, by their names, into our modules."""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib
from typing import Any
import zipfile

import numpy as np

from composeret_jax.models.composers import Composer
from composeret_jax.models.composers.compose_ae import AutoencoderComposer, ComposeAE, RealSpaceConcatAE, Rotation
from composeret_jax.models.composers.tirg import Tirg
from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.layers.linear import NormedMlp
from composeret_jax.models.layers.pooled_convolution import PooledConv1d
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.resnet import trunk_slots
from composeret_jax.pretrained.slots import (
  batch_norm_slots,
  fill,
  linear_slots,
  prefixed,
  same,
  Slot,
  Slots,
  transposed,
)
from data_pipelines.input_error import InputError


def _scalars(size: int, *variables: Any) -> Slot:
  """A vector of `size` whose first entries are scalars of ours; the original never uses the rest."""
  return Slot((size,), variables, lambda tensor: list(tensor[: len(variables)]))


def load(state_dict: Mapping[str, np.ndarray], model: RetrievalModel) -> None:
  """Fills `model` from an original checkpoint's `model_state_dict`, given as NumPy arrays.

  Raises InputError that names every tensor that is missing, left over or of the wrong shape, and for a composer whose
  original names are not known; `model` is untouched then.
  """
  fill(state_dict, model_slots(model))


def model_slots(model: RetrievalModel) -> Slots:
  """Every tensor name of an original checkpoint of this kind of model."""
  text_encoder = model.text_encoder
  return {
    **prefixed("img_model.", trunk_slots(model.image_encoder.trunk)),
    **prefixed("img_model.fc.0.", linear_slots(model.image_encoder.head)),
    # A BERT's weights are not there: the original ran it as a program of its own.
    **(prefixed("text_model.", lstm_slots(text_encoder)) if isinstance(text_encoder, LstmTextEncoder) else {}),
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
    **prefixed("encoderLinear.0.", _rotation(composer.linear_path.rotation)),
    **prefixed("encoderLinear.1.mapping.", _normed_mlp(composer.linear_path.mapping)),
    **prefixed("encoderWithConv.0.", _rotation(conv.rotation)),
    **prefixed("encoderWithConv.1.mapping.", _normed_mlp(conv.mapping)),
    **prefixed("encoderWithConv.1.conv.", _conv1d(conv.conv)),
  }


def real_space_concat_ae_slots(composer: RealSpaceConcatAE) -> Slots:
  """RealSpaceConcatAE's names: ComposeAE's without the rotations, and another one for the convolution."""
  return {
    **_autoencoder(composer),
    **prefixed("encoderLinear.1.mapping.", _normed_mlp(composer.linear_path)),
    **prefixed("encoderWithConv.1.mapping.", _normed_mlp(composer.conv_path.mapping)),
    **prefixed("encoderWithConv.1.conv1.", _conv1d(composer.conv_path.conv)),
  }


def tirg_slots(composer: Tirg) -> Slots:
  """TIRG's names: its layers count a first one that joins image and text."""
  return {
    "a": _scalars(4, composer.gate_weight, composer.residual_weight),
    **prefixed("gated_feature_composer.1.", batch_norm_slots(composer.gate_norm)),
    **prefixed("gated_feature_composer.3.", linear_slots(composer.gate)),
    **prefixed("res_info_composer.", _normed_mlp(composer.residual, first=1)),
  }


COMPOSER_SLOTS: dict[type[Composer], Callable[[Any], Slots]] = {
  ComposeAE: compose_ae_slots,
  RealSpaceConcatAE: real_space_concat_ae_slots,
  Tirg: tirg_slots,
}


def lstm_slots(encoder: LstmTextEncoder) -> Slots:
  """The text encoder's names."""
  return {
    "embedding_layer.weight": same(encoder.embedding),
    "lstm.weight_ih_l0": transposed(encoder.lstm.input_kernel, (1, 0)),
    "lstm.weight_hh_l0": transposed(encoder.lstm.hidden_kernel, (1, 0)),
    "lstm.bias_ih_l0": same(encoder.lstm.input_bias),
    "lstm.bias_hh_l0": same(encoder.lstm.hidden_bias),
    **prefixed("fc_output.1.", linear_slots(encoder.head)),
  }


def _autoencoder(composer: AutoencoderComposer) -> Slots:
  return {
    "a": _scalars(4, composer.conv_weight, composer.linear_weight),
    **prefixed("decoder.", _normed_mlp(composer.image_decoder)),
    **prefixed("txtdecoder.", _normed_mlp(composer.text_decoder)),
  }


def _rotation(rotation: Rotation) -> Slots:
  return {
    **prefixed("image_features.0.", batch_norm_slots(rotation.image_norm)),
    **prefixed("image_features.1.", linear_slots(rotation.magnitude.hidden)),
    **prefixed("image_features.4.", linear_slots(rotation.magnitude.out)),
    **prefixed("bert_features.0.", batch_norm_slots(rotation.text_norm)),
    **prefixed("bert_features.1.", linear_slots(rotation.angle.hidden)),
    **prefixed("bert_features.3.", linear_slots(rotation.angle.out)),
  }


def _normed_mlp(module: NormedMlp, first: int = 0) -> Slots:
  """`first` is the place of the batch norm in the original's list of layers."""
  return {
    **prefixed(f"{first}.", batch_norm_slots(module.norm)),
    **prefixed(f"{first + 2}.", linear_slots(module.mlp.hidden)),
    **prefixed(f"{first + 4}.", linear_slots(module.mlp.out)),
  }


def _conv1d(conv: PooledConv1d) -> Slots:
  return {"weight": transposed(conv.kernel, (2, 1, 0)), "bias": same(conv.bias)}


@dataclasses.dataclass(frozen=True)
class OriginalCheckpoint:
  """The steps done, and the parameters by their original names."""

  step: int
  state_dict: dict[str, np.ndarray]


def read_checkpoint(path: pathlib.Path) -> OriginalCheckpoint:
  """Reads `it` and `model_state_dict`; nothing but tensors and plain containers is unpickled.

  Raises InputError when PyTorch or the file is not there, or the file is no such checkpoint.
  """
  if not path.is_file():
    raise InputError(f"--checkpoint={path} is not a file")
  checkpoint = _load(path)
  keys = sorted(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint).__name__
  if not isinstance(checkpoint, dict) or not {"it", "model_state_dict"} <= checkpoint.keys():
    raise InputError(
      f"{path} holds {str(keys)[:300]}, expected an original checkpoint with the keys it and model_state_dict"
    )
  try:
    tensors = {str(name): tensor.numpy() for name, tensor in checkpoint["model_state_dict"].items()}
    return OriginalCheckpoint(int(checkpoint["it"]), tensors)
  except (TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
    raise InputError(f"{path} holds another thing than tensors under model_state_dict and a step under it") from error


def _load(path: pathlib.Path) -> Any:
  """The bytes that PyTorch unpickles. It never compresses, and what is compressed may become any size."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
          raise InputError(f"{path} is a compressed archive, expected a PyTorch file of weights")
  except zipfile.BadZipFile as error:
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {error}") from error
  try:
    import torch
  except ImportError:
    raise InputError(
      f'PyTorch is not installed, and {path} needs it: pip install "composeret-jax[torch]", for this step only'
    ) from None
  try:
    return torch.load(path, map_location="cpu", weights_only=True)
  except Exception as error:  # whatever a damaged file makes its parsers run into
    reason = str(error).partition("\n")[0][:300]
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {reason}") from error
