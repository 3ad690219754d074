"""The retrieval model: two encoders, a composer, and the sphere on which composed and target features meet."""

from collections.abc import Callable
from typing import Any

from flax import nnx
import jax.numpy as jnp
import ml_collections

from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.image_encoder import build_image_encoder
from data_pipelines.input_error import InputError


def build_model(
  config: ml_collections.ConfigDict,
  build_text_encoder: Callable[[nnx.Rngs], Any],
  seed: int,
  image_size: int = 224,
  *,
  has_bias: bool = False,
  empty_text: tuple[int, ...] | int | None = None,
  placeholder_id: int | None = None,
) -> RetrievalModel:
  """The model that `config` (the `model` part of a run's configuration) describes, freshly initialised from `seed`.

  `image_size` is the side of the images' pixels; it matters to image towers alone. `has_bias` is whether its loss adds
  a learned bias. `empty_text` is what the text encoder reads of the empty text (Texts.empty_text), `placeholder_id` the
  token that stands for the image (Texts.placeholder_id). Raises InputError where the two encoders should share one
  space, and have features of different widths.
  """
  rngs = nnx.Rngs(seed)
  image_encoder: Any = build_image_encoder(config.image_encoder, image_size, rngs)
  text_encoder = build_text_encoder(rngs)
  composer_class: Any = COMPOSERS[config.composer]
  image_dim = image_encoder.trunk.feature_dim if composer_class.composes_maps else image_encoder.feature_dim
  text_dim, options = text_encoder.feature_dim, config.get("composer_options", {})
  if composer_class.placeholder:
    if image_dim != text_dim:
      raise InputError(
        f"features of images have {image_dim} numbers, of texts {text_dim}, expected as many: {config.composer} needs "
        "the two towers of one model"
      )
    text_dim = text_encoder.trunk.embeddings.words.shape[1]
    options = {**options, "placeholder_id": placeholder_id}
  composer = composer_class(image_dim, text_dim, **options, rngs=rngs)
  composer.compute_in(jnp.dtype(config.get("composer_dtype", "float32")))
  return RetrievalModel(
    image_encoder,
    text_encoder,
    composer,
    radius=config.radius,
    train_radius=config.train_radius,
    has_bias=has_bias,
    empty_text=empty_text,
  )


def placeholder_of(config: ml_collections.ConfigDict) -> str:
  """The word of texts that the composer puts the image in place of, "" for none; `config` is as in `build_model`."""
  return COMPOSERS[config.composer].placeholder
