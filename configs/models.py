"""The models, by the name that is the argument of a data set's configuration."""

from collections.abc import Callable

import ml_collections


def compose_ae() -> ml_collections.ConfigDict:
  """ComposeAE: rotation and autoencoder."""
  model = real_space_concat_ae()
  model.composer = "compose_ae"
  model.loss_weights.rotational_symmetry = 0.01
  return model


def real_space_concat_ae() -> ml_collections.ConfigDict:
  """RealSpaceConcatAE: ComposeAE's autoencoder without the rotation."""
  model = _model("real_space_concat_ae")
  model.loss_weights.image_reconstruction = 0.1
  model.loss_weights.text_reconstruction = 0.1
  return model


def rotor() -> ml_collections.ConfigDict:
  """Rotation and shift that the text can take back, and a gate, with ComposeAE's autoencoder losses."""
  model = compose_ae()
  model.composer = "rotor"
  model.composer_options.rotates = True
  model.composer_options.gates = True
  model.composer_options.shifts = True
  model.composer_options.scales_image = False
  return model


def tirg() -> ml_collections.ConfigDict:
  """TIRG on the image feature."""
  return _model("tirg")


def tirg_last_conv() -> ml_collections.ConfigDict:
  """TIRG on the last convolution's map."""
  return _model("tirg_last_conv")


def concat() -> ml_collections.ConfigDict:
  """Baseline: image and text side by side through a small network."""
  return _model("concat")


def sum_of_features() -> ml_collections.ConfigDict:
  """Baseline: image plus text."""
  model = _model("sum")
  model.composer_options.normalise = False  # True: both of length 1 first
  model.composer_options.text_weight = 1.0
  return model


def zero_shot() -> ml_collections.ConfigDict:
  """Image plus text, both of length 1: for encoders that share one space, with `num_train_steps` 0."""
  model = sum_of_features()
  model.composer_options.normalise = True
  model.train_radius = False
  return model


def combiner() -> ml_collections.ConfigDict:
  """CLIP4Cir's Combiner, for encoders that share one space; its logits are cosines times 100."""
  model = _model("combiner")
  model.radius = 10.0
  model.train_radius = False
  return model


def magic_lens() -> ml_collections.ConfigDict:
  """MagicLens over encoders that share one space; the gallery's images are composed with the empty text."""
  model = _model("magic_lens")
  model.composer_options.num_layers = 4
  model.composer_options.num_heads = 8  # large: 16
  model.radius = 3.8  # 1 / 0.07, the inverse temperature, is about its square
  return model


def inversion(composer: str, path: str) -> ml_collections.ConfigDict:
  """`composer` ("pic2word", "searle" or "lincir") over the two towers of one CLIP, which are frozen."""
  model = _model(composer)
  towers(model, path, train=False)
  model.radius = 10.0  # logits are cosines times 100
  model.train_radius = False
  if composer == "pic2word":
    model.composer_options.num_layers = 2
    model.composer_options.hidden_dim = 512
  if composer == "lincir":
    model.composer_options.normalise = False  # True: of images' features the direction alone is read
  model.composer_options.dropout = 0.1 if composer == "pic2word" else 0.5
  return model


def image_only() -> ml_collections.ConfigDict:
  """Baseline: the image alone."""
  return _model("image_only")


def text_only() -> ml_collections.ConfigDict:
  """Baseline: the text alone."""
  return _model("text_only")


def _model(composer: str) -> ml_collections.ConfigDict:
  """A composer over ResNet-18 and an LSTM, trained with the main loss alone."""
  model = ml_collections.ConfigDict()
  model.composer = composer
  model.composer_dtype = "float32"  # or "bfloat16": what the composer's products compute in; the losses stay float32
  model.composer_options = ml_collections.ConfigDict()  # what it is built with, by name
  model.image_encoder = ml_collections.ConfigDict()
  model.image_encoder.name = "resnet"  # or "tower": CLIP's, SigLIP's or DINOv2's, as `pretrained` holds it
  model.image_encoder.width = 64  # this and the next two are the ResNet's
  model.image_encoder.block = "basic"  # or "bottleneck", with stages (3, 4, 6, 3): ResNet-50
  model.image_encoder.stage_sizes = (2, 2, 2, 2)
  model.image_encoder.feature_dim = 512  # width of a trained linear layer behind it; 0 for none (towers only)
  model.image_encoder.dtype = "float32"  # or "bfloat16": what convolutions and matrix products compute in
  model.image_encoder.remat = False  # a tower's layers are computed again on the way back, to hold one at a time
  # Initial weights: a safetensors file with torchvision's names, its folder, or a hub repository; "" from scratch.
  # A tower's folder or hub repository, as transformers has it.
  model.image_encoder.pretrained = ""
  # Whether `pretrained` is frozen: each image is encoded once, and only the last layer is trained.
  model.image_encoder.frozen = False
  model.text_encoder = ml_collections.ConfigDict()
  model.text_encoder.name = "lstm"  # or "bert", or "tower": CLIP's or SigLIP's
  model.text_encoder.words = "ascii"  # or "unicode": how the LSTM's texts are split into words
  model.text_encoder.embedding_dim = 512  # the LSTM's
  model.text_encoder.feature_dim = 512  # the LSTM's
  model.text_encoder.path = ""  # BERT's or the tower's folder or hub repository
  model.text_encoder.pooling = "second_to_last_mean"  # BERT's; or "last_mean", "cls", "last_mean_and_cls"
  model.text_encoder.projection_dim = 0  # width of a trained linear layer behind BERT or the tower; 0 for none
  model.text_encoder.fine_tune = False  # whether BERT or the tower is trained; else it encodes each text once
  model.text_encoder.unseen_id = -1  # CLIP's tokens of this id are not looked at, as MagicLens' 0; -1: all are
  # Quotes, ligatures, wide letters and HTML's entities of texts are read as plain signs, as OpenAI's CLIP does.
  model.text_encoder.plain_signs = False
  model.text_encoder.dtype = "float32"  # or "bfloat16": what matrix products of BERT or the tower compute in
  model.text_encoder.remat = False  # their layers are computed again on the way back, to hold one at a time
  model.radius = 4.0  # of the sphere of the features; squared, the losses' first inverse temperature
  model.train_radius = True
  model.loss_weights = ml_collections.ConfigDict()
  model.loss_weights.main = 1.0
  model.loss_weights.image_reconstruction = 0.0
  model.loss_weights.text_reconstruction = 0.0
  model.loss_weights.rotational_symmetry = 0.0
  return model


def towers(model: ml_collections.ConfigDict, path: str, *, train: bool) -> None:
  """Both encoders are the towers of one folder or hub repository, without a layer of our own behind them.

  Without `train` they are frozen, and each image and text is encoded once.
  """
  model.image_encoder.name = "tower"
  model.image_encoder.pretrained = path
  model.image_encoder.frozen = not train
  model.image_encoder.feature_dim = 0
  model.text_encoder.name = "tower"
  model.text_encoder.path = path
  model.text_encoder.fine_tune = train
  model.text_encoder.projection_dim = 0


MODELS: dict[str, Callable[[], ml_collections.ConfigDict]] = {
  "compose_ae": compose_ae,
  "tirg": tirg,
  "tirg_last_conv": tirg_last_conv,
  "real_space_concat_ae": real_space_concat_ae,
  "rotor": rotor,
  "concat": concat,
  "sum": sum_of_features,
  "zero_shot": zero_shot,
  "combiner": combiner,
  "magic_lens": magic_lens,
  "image_only": image_only,
  "text_only": text_only,
}


def get_config(name: str) -> ml_collections.ConfigDict:
  """The model called `name`; raises ValueError for another name."""
  if name not in MODELS:
    raise ValueError(f"no model is called {name!r}; expected one of {', '.join(MODELS)}")
  return MODELS[name]()
