"""The base class of all composers."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array

from composeret_jax.models.layers.convolution import BiasedConv2d
from composeret_jax.models.layers.pooled_convolution import PooledConv1d
from data_pipelines.field_rules import Rule


class Composer(nnx.Module):
  """Called with (image, text, rngs=...), gives the raw feature of the image that the two together ask for.

  Built with (image_dim, text_dim, rngs=...), and its `options` as keywords. A composer that gives
  `image_reconstruction` has `decode_image(composed, text)`, one that gives `text_reconstruction` has
  `decode_text(composed)`, and one that gives `rotational_symmetry` has `both_ways(reference, target, text, rngs=...)`.
  A composer with a `placeholder` takes token ids in place of a text's feature, and the text tower that reads them:
  (image, tokens, text_encoder=..., rngs=...). It is built with (image_dim, word_dim, placeholder_id=..., rngs=...).
  """

  # Only composers that give the loss have these.
  decode_image: Callable[..., Array]
  decode_text: Callable[..., Array]
  both_ways: Callable[..., tuple[Array, Array]]

  losses: ClassVar[tuple[str, ...]] = ("main",)
  """The losses that it can be trained with."""

  options: ClassVar[Mapping[str, Rule]] = {}
  """The options that it is built with, by name: what `config.model.composer_options` may set."""

  composes_maps: ClassVar[bool] = False
  """Whether image and composed are maps [batch, height, width, channels] of the image encoder before its pooling."""

  composes_targets: ClassVar[bool] = False
  """Whether an image of the gallery is composed too, with the empty text."""

  placeholder: ClassVar[str] = ""
  """The word of a text that stands for the image, where the composer makes a word of it; "" where it does not."""

  prompt: ClassVar[str] = ""
  """Where there is a placeholder: the text around a caption without one, which stands for `{caption}`."""

  def compute_in(self, dtype: jnp.dtype) -> None:
    """From now on matrix products and convolutions, and what runs between them, are in `dtype`; parameters stay."""
    self.set_attributes(nnx.Linear, BiasedConv2d, PooledConv1d, dtype=dtype, raise_if_not_found=False)

  @staticmethod
  def expected_image_dim(image_dim: int) -> str:
    """A rule for the width of image features: what the composer expects, or "" where it takes this width."""
    return ""
