"""Parameters of the original PyTorch programs, by their names, into our modules."""

from collections.abc import Mapping

from flax import nnx
import numpy as np

from composeret_jax.composers.compose_ae import ComposeAE, NormedMlp, Rotation
from composeret_jax.encoders.lstm import Lstm, LstmTextEncoder
from composeret_jax.layers.convolution import Conv1d
from composeret_jax.model import RetrievalModel
from composeret_jax.weights.pretrained import resnet_slots
from composeret_jax.weights.slots import batch_norm_slots, fill, linear_slots, prefixed, same, Slot, Slots, transposed


def _scalars(size: int, *variables: nnx.Variable) -> Slot:
  """A vector of `size` whose first entries are scalars of ours; the original never uses the rest."""
  return Slot((size,), variables, lambda tensor: tensor[: len(variables)])


def load(state_dict: Mapping[str, np.ndarray], model: RetrievalModel) -> None:
  """Fills `model` from an original checkpoint's `model_state_dict`, given as NumPy arrays.

  Raises InputError that names every tensor that is missing, left over or of the wrong shape; `model` is untouched then.
  """
  fill(state_dict, model_slots(model))


def model_slots(model: RetrievalModel) -> Slots:
  """Every tensor name of an original checkpoint of this kind of model."""
  return {
    **prefixed("img_model.", resnet_slots(model.image_encoder, head="fc.0")),
    **prefixed("text_model.", lstm_slots(model.text_encoder)),
    **composer_slots(model),
  }


def composer_slots(model: RetrievalModel) -> Slots:
  """The composer's names and the sphere's radius."""
  return {"normalization_layer.norm_s": _scalars(1, model.radius), **compose_ae_slots(model.composer)}


def compose_ae_slots(composer: ComposeAE) -> Slots:
  """ComposeAE's names; `encoderLinear` and `encoderWithConv` are its two paths."""
  conv = composer.conv_path
  return {
    "a": _scalars(4, composer.conv_weight, composer.linear_weight),
    **prefixed("encoderLinear.0.", _rotation(composer.linear_path.rotation)),
    **prefixed("encoderLinear.1.mapping.", _normed_mlp(composer.linear_path.mapping)),
    **prefixed("encoderWithConv.0.", _rotation(conv.rotation)),
    **prefixed("encoderWithConv.1.mapping.", _normed_mlp(conv.mapping)),
    **prefixed("encoderWithConv.1.conv.", _conv1d(conv.conv)),
    **prefixed("decoder.", _normed_mlp(composer.image_decoder)),
    **prefixed("txtdecoder.", _normed_mlp(composer.text_decoder)),
  }


def lstm_slots(encoder: LstmTextEncoder) -> Slots:
  """The text encoder's names."""
  return {
    "embedding_layer.weight": same(encoder.embedding),
    **prefixed("lstm.", _lstm(encoder.lstm)),
    **prefixed("fc_output.1.", linear_slots(encoder.head)),
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


def _normed_mlp(module: NormedMlp) -> Slots:
  return {
    **prefixed("0.", batch_norm_slots(module.norm)),
    **prefixed("2.", linear_slots(module.mlp.hidden)),
    **prefixed("4.", linear_slots(module.mlp.out)),
  }


def _conv1d(conv: Conv1d) -> Slots:
  return {"weight": transposed(conv.kernel, (2, 1, 0)), "bias": same(conv.bias)}


def _lstm(lstm: Lstm) -> Slots:
  return {
    "weight_ih_l0": transposed(lstm.input_kernel, (1, 0)),
    "weight_hh_l0": transposed(lstm.hidden_kernel, (1, 0)),
    "bias_ih_l0": same(lstm.input_bias),
    "bias_hh_l0": same(lstm.hidden_bias),
  }
