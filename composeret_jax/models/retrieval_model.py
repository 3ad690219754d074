"""The retrieval model: two encoders, a composer, and the sphere on which composed and target features meet."""

from typing import Any

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from composeret_jax.models.composers import Composer
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.sphere import to_sphere

FIRST_BIAS = -10.0  # SigLIP's: at first every pair is unlikely, as nearly all pairs of a batch are wrong


class RetrievalModel(nnx.Module):
  """Turns a reference image and a modification text into the feature of the image that they ask for.

  Raw features come from `encode_images`, `encode_texts` and `compose`; `on_sphere` makes composed and image features
  comparable by inner product. `encode_references` gives what `compose` takes: the images' features or, where the
  composer composes maps, the image encoder's maps. Dropout and batch statistics follow nnx's train() and eval().
  The square of `radius`, which is learned with `train_radius`, is the inverse temperature of the losses on the sphere.
  Where the composer has a placeholder, a text's raw feature is its token ids, and `compose` calls the text encoder.
  With `has_bias` there is a learned number, `bias`, for the sigmoid loss to add to inner products.
  `encode_targets` gives what stands in a gallery: the image's feature or, where the composer composes targets, what it
  makes of the image and the empty text.
  """

  def __init__(
    self,
    image_encoder: nnx.Module,
    text_encoder: nnx.Module,
    composer: Composer,
    *,
    radius: float = 4.0,
    train_radius: bool = True,
    has_bias: bool = False,
    empty_text: tuple[int, ...] | int | None = None,
  ):
    """`empty_text` is what the text encoder reads of the empty text.

    Raises ValueError where targets are composed and it is None.
    """
    if composer.composes_targets and empty_text is None:
      raise ValueError(f"empty_text is None, expected token ids or a row: {type(composer).__name__} composes targets")
    self.image_encoder: Any = image_encoder  # with `trunk` and `pool` where the composer composes maps
    self.text_encoder: Any = text_encoder
    self.composer = composer
    self.empty_text = empty_text
    # Typed scalars: a weak type would compile the step again.
    self.radius = nnx.Param(jnp.array(radius, jnp.float32)) if train_radius else radius
    self.bias = nnx.Param(jnp.array(FIRST_BIAS, jnp.float32)) if has_bias else None

  def encode_images(self, images: Num[Array, "batch ..."]) -> Float[Array, "batch image_dim"]:
    """The raw features of images, given as what the image encoder reads: pixels, or a frozen trunk's features."""
    return self.image_encoder(images)

  def encode_references(self, images: Num[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """The image features that `compose` takes."""
    return self.image_encoder.trunk(images) if self.composer.composes_maps else self.encode_images(images)

  def pool_references(self, references: Float[Array, "batch ..."]) -> Float[Array, "batch image_dim"]:
    """The raw features of images from what `encode_references` gives for them."""
    return self.image_encoder.pool(references) if self.composer.composes_maps else references

  def encode_texts(
    self, texts: Int[Array, "batch ..."], *, rngs: RowKeys | None = None
  ) -> Num[Array, "batch text_dim"]:
    """The text features that `compose` takes, from the text encoder's input; `rngs` feeds dropout in training mode."""
    return texts if self.composer.placeholder else self.text_encoder(texts, rngs=rngs)

  def compose(
    self,
    references: Float[Array, "batch ..."],
    text: Num[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """The raw feature of what the text makes of the image."""
    reader = {"text_encoder": self.text_encoder} if self.composer.placeholder else {}
    composed = self.composer(references, text, rngs=rngs, **reader).astype(jnp.float32)
    return self.pool_references(composed)

  def compose_targets(
    self, images: Float[Array, "batch image_dim"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch image_dim"]:
    """The raw features under which images stand in a gallery, from what `encode_images` gives for them."""
    if not self.composer.composes_targets:
      return images
    # One text for all rows, so that its dropout is of no row.
    text_rngs = rngs and RowKeys(rngs.key, jnp.zeros(1, jnp.int32), rngs.num_drawn)
    text = self.encode_texts(jnp.array([self.empty_text], jnp.int32), rngs=text_rngs)
    if rngs and text_rngs:
      rngs.num_drawn = text_rngs.num_drawn
    return self.composer(images, jnp.broadcast_to(text, (images.shape[0], text.shape[1])), rngs=rngs)

  def encode_targets(
    self, images: Num[Array, "batch ..."], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch image_dim"]:
    """The raw features of gallery images, given as what the image encoder reads."""
    return self.compose_targets(self.encode_images(images), rngs=rngs)

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """`compose`, and the raw feature of the image from which the text has led to the target; only with a rotation."""
    composed, turned_back = self.composer.both_ways(reference, target, text, rngs=rngs)
    return composed.astype(jnp.float32), turned_back.astype(jnp.float32)

  def on_sphere(self, features: Float[Array, "batch image_dim"]) -> Float[Array, "batch image_dim"]:
    """Features scaled to the sphere of the model's radius; a zero feature stays zero."""
    return to_sphere(features, self.radius)
