"""The retrieval model: two encoders, a composer, and the sphere on which composed and target features meet."""

from collections.abc import Callable
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num
import ml_collections

from composeret_jax.composers import Composer, COMPOSERS
from composeret_jax.encoders.resnet import FrozenTrunkHead, ResNet, Trunk
from composeret_jax.layers.dropout import RowKeys


class RetrievalModel(nnx.Module):
  """Turns a reference image and a modification text into the feature of the image that they ask for.

  Raw features come from `encode_images`, `encode_texts` and `compose`; `on_sphere` makes composed and image features
  comparable by inner product. `encode_references` gives what `compose` takes: the images' features or, where the
  composer composes maps, the image encoder's maps. Dropout and batch statistics follow nnx's train() and eval().
  """

  def __init__(self, image_encoder: nnx.Module, text_encoder: nnx.Module, composer: Composer):
    self.image_encoder = image_encoder
    self.text_encoder = text_encoder
    self.composer = composer
    self.radius = nnx.Param(jnp.array(4.0, jnp.float32))  # a typed scalar: a weak type would compile the step again

  def encode_images(self, images: Num[Array, "batch ..."]) -> Float[Array, "batch image_dim"]:
    """The raw features of images, given as what the image encoder reads: pixels, or a frozen trunk's features."""
    return self.image_encoder(images)

  def encode_references(self, images: Num[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """What `compose` takes of images."""
    return self.image_encoder.trunk(images) if self.composer.composes_maps else self.encode_images(images)

  def pool_references(self, references: Float[Array, "batch ..."]) -> Float[Array, "batch image_dim"]:
    """The raw features of images from what `encode_references` gives for them."""
    return self.image_encoder.pool(references) if self.composer.composes_maps else references

  def encode_texts(
    self, texts: Int[Array, "batch ..."], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch text_dim"]:
    """The raw features of texts, given as what the text encoder reads; `rngs` feeds dropout in training mode."""
    return self.text_encoder(texts, rngs=rngs)

  def compose(
    self,
    references: Float[Array, "batch ..."],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """The raw feature of what the text makes of the image."""
    return self.pool_references(self.composer(references, text, rngs=rngs))

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """`compose`, and the raw feature of the image from which the text has led to the target; only with a rotation."""
    return self.composer.both_ways(reference, target, text, rngs=rngs)

  def on_sphere(self, features: Float[Array, "batch image_dim"]) -> Float[Array, "batch image_dim"]:
    """Features scaled to the sphere of the learned radius; a zero feature stays zero."""
    squared_norm = jnp.square(features).sum(axis=-1, keepdims=True)
    return self.radius * features * jax.lax.rsqrt(jnp.maximum(squared_norm, jnp.finfo(jnp.float32).tiny))


def build_model(
  config: ml_collections.ConfigDict, build_text_encoder: Callable[[nnx.Rngs], nnx.Module], seed: int
) -> RetrievalModel:
  """The model that `config` (the `model` part of a run's configuration) describes, freshly initialised from `seed`."""
  rngs = nnx.Rngs(seed)
  image_encoder = build_image_encoder(config.image_encoder, rngs)
  text_encoder = build_text_encoder(rngs)
  composer_class = COMPOSERS[config.composer]
  image_dim = image_encoder.trunk.num_channels if composer_class.composes_maps else image_encoder.feature_dim
  composer = composer_class(image_dim, text_encoder.feature_dim, rngs=rngs)
  return RetrievalModel(image_encoder, text_encoder, composer)


def build_image_encoder(config: ml_collections.ConfigDict, rngs: nnx.Rngs) -> nnx.Module:
  """The ResNet of `config` (the `image_encoder` part of a model's); its last layer alone where the rest is frozen."""
  sizes = trunk_sizes(config)
  if config.frozen:
    num_channels = nnx.eval_shape(lambda: Trunk(**sizes, rngs=nnx.Rngs(0))).num_channels
    return FrozenTrunkHead(num_channels, config.feature_dim, rngs=rngs)
  return ResNet(**sizes, feature_dim=config.feature_dim, rngs=rngs)


def trunk_sizes(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a trunk is built with."""
  return {
    "width": config.width,
    "stage_sizes": config.stage_sizes,
    "block": config.block,
    "dtype": jnp.dtype(config.dtype),
  }
