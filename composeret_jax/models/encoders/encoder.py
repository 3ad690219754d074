"""The interface between the retrieval model and any encoder."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, Num

from composeret_jax.models.layers.dropout import RowKeys


@runtime_checkable
class ImageEncoder(Protocol):
  """Images to raw features. Images are pixels or, where a trunk is frozen, its features."""

  feature_dim: int
  """The width of a feature."""

  def __call__(self, images: Num[Array, "batch ..."], /) -> Float[Array, "batch ..."]:
    """Returns features that are not on the sphere."""
    ...


@runtime_checkable
class ImageTrunk(Protocol):
  """The part of an image encoder that has pretrained weights."""

  feature_dim: int
  """The width of a feature."""

  def features(self, pixels: Num[Array, "batch height width 3"], /) -> Float[Array, "batch feature_dim"]:
    """One feature for each image."""
    ...


@runtime_checkable
class TextEncoder(Protocol):
  """Texts to raw features."""

  feature_dim: int
  """The width of a feature."""

  reads: str
  """The name of a batch's entry that holds the texts."""

  def __call__(
    self, texts: Int[Array, "batch ..."], /, *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch feature_dim"]:
    """Returns features that are not on the sphere; `rngs` feeds dropout in training mode."""
    ...
