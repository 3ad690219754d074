"""The models, by the name that is the argument of a data set's configuration."""

from collections.abc import Callable

import ml_collections


def compose_ae() -> ml_collections.ConfigDict:
  """ComposeAE over ResNet-18 and an LSTM."""
  model = ml_collections.ConfigDict()
  model.composer = "compose_ae"
  model.image_encoder = ml_collections.ConfigDict()
  model.image_encoder.width = 64
  model.image_encoder.block = "basic"  # or "bottleneck", with stages (3, 4, 6, 3): ResNet-50
  model.image_encoder.stage_sizes = (2, 2, 2, 2)
  model.image_encoder.feature_dim = 512
  model.image_encoder.dtype = "float32"  # or "bfloat16": what the convolutions compute in
  # Initial weights: a safetensors file with torchvision's names, its folder, or a hub repository; "" from scratch.
  model.image_encoder.pretrained = ""
  model.text_encoder = ml_collections.ConfigDict()
  model.text_encoder.name = "lstm"  # or "bert"
  model.text_encoder.embedding_dim = 512  # the LSTM's
  model.text_encoder.feature_dim = 512  # the LSTM's
  model.text_encoder.path = ""  # BERT's folder or hub repository
  model.text_encoder.pooling = "second_to_last_mean"  # or "last_mean", "cls", "last_mean_and_cls"
  model.text_encoder.projection_dim = 0  # width of a linear layer behind BERT; 0 for none
  model.text_encoder.fine_tune = False  # whether BERT is trained; else it encodes each text once
  model.loss_weights = ml_collections.ConfigDict()
  model.loss_weights.main = 1.0
  model.loss_weights.image_reconstruction = 0.1
  model.loss_weights.text_reconstruction = 0.1
  model.loss_weights.rotational_symmetry = 0.01
  return model


MODELS: dict[str, Callable[[], ml_collections.ConfigDict]] = {"compose_ae": compose_ae}


def get_config(name: str) -> ml_collections.ConfigDict:
  """The model called `name`; raises ValueError for another name."""
  if name not in MODELS:
    raise ValueError(f"no model is called {name!r}; expected one of {', '.join(MODELS)}")
  return MODELS[name]()
