"""Textual inversion: an image's feature becomes a word of the text, and the text's feature is the composed one.

Pic2Word (Saito et al., CVPR 2023), SEARLE (Baldrati et al., ICCV 2023) and LinCIR (Gu et al., CVPR 2024) differ in the
network that makes the word, in the placeholder that the word replaces, and in how the network is trained.
"""

from typing import Any, ClassVar

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.encoders.text_tower import Replacement
from composeret_jax.models.encoders.transformer import ACTIVATIONS
from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.models.layers.feature_noise import FeatureNoise
from composeret_jax.models.layers.linear import linear
from composeret_jax.models.layers.sphere import to_sphere
from data_pipelines.field_rules import boolean, FRACTION, whole_number


class Inversion(Composer):
  """A subclass makes `phi`, from raw image features to words, and says which tokens a word replaces."""

  phi: "Phi"

  def __init__(self, placeholder_id: int):
    self.placeholder_id = placeholder_id

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Int[Array, "batch length"],
    *,
    text_encoder: Any,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch text_dim"]:
    """The raw feature of each text with its image's word; `rngs` is only read in training mode.

    A text without a placeholder keeps its own words.
    """
    words = self.phi(self.phi_input(image, rngs=rngs), rngs=rngs)
    return text_encoder(text, replaced=Replacement(words, self.places(text)), rngs=rngs)

  def phi_input(
    self, image: Float[Array, "batch image_dim"], *, rngs: RowKeys | None
  ) -> Float[Array, "batch image_dim"]:
    """The raw features of images, which `phi` reads."""
    return image

  def places(self, tokens: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """Which tokens the word replaces: the first placeholder of each text."""
    found = tokens == self.placeholder_id
    first = jnp.argmax(found, axis=1)[:, None]
    return found & (jnp.arange(tokens.shape[1]) == first)


class Pic2Word(Inversion):
  """`num_layers` hidden layers of `hidden_dim` with ReLU; the first star becomes the word."""

  placeholder = "*"
  prompt = "a photo of * , {caption}"
  options: ClassVar = {"num_layers": whole_number(1), "hidden_dim": whole_number(1), "dropout": FRACTION}

  def __init__(
    self,
    image_dim: int,
    word_dim: int,
    *,
    placeholder_id: int,
    num_layers: int = 2,
    hidden_dim: int = 512,
    dropout: float = 0.1,
    rngs: nnx.Rngs,
  ):
    super().__init__(placeholder_id)
    self.phi = Phi(image_dim, [hidden_dim] * num_layers, word_dim, activation="relu", dropout=dropout, rngs=rngs)


class Searle(Inversion):
  """Two hidden layers, four times as wide as the image's feature, with GELU; the first `$` becomes the word."""

  placeholder = "$"
  prompt = "a photo of $ that {caption}"
  options: ClassVar = {"dropout": FRACTION}

  def __init__(self, image_dim: int, word_dim: int, *, placeholder_id: int, dropout: float = 0.5, rngs: nnx.Rngs):
    super().__init__(placeholder_id)
    self.phi = Phi(image_dim, [4 * image_dim] * 2, word_dim, activation="gelu", dropout=dropout, rngs=rngs)


class LinCir(Searle):
  """SEARLE's network; every `$` becomes the word. In training the image's feature gets noise.

  With `normalise` the feature is then brought to length 1.
  """

  options: ClassVar = {"dropout": FRACTION, "normalise": boolean}

  def __init__(
    self,
    image_dim: int,
    word_dim: int,
    *,
    placeholder_id: int,
    dropout: float = 0.5,
    normalise: bool = False,
    rngs: nnx.Rngs,
  ):
    super().__init__(image_dim, word_dim, placeholder_id=placeholder_id, dropout=dropout, rngs=rngs)
    self.noise = FeatureNoise()
    self.normalise = normalise

  def phi_input(
    self, image: Float[Array, "batch image_dim"], *, rngs: RowKeys | None
  ) -> Float[Array, "batch image_dim"]:
    """The raw feature with its noise, of length 1 if asked for."""
    noised = self.noise(image, rngs=rngs)
    return to_sphere(noised) if self.normalise else noised

  def places(self, tokens: Int[Array, "batch length"]) -> Bool[Array, "batch length"]:
    """Every placeholder."""
    return tokens == self.placeholder_id


class Phi(nnx.Module):
  """Hidden layers of linear, activation (a key of ACTIVATIONS) and dropout, then a linear layer."""

  def __init__(
    self, image_dim: int, hidden_dims: list[int], word_dim: int, *, activation: str, dropout: float, rngs: nnx.Rngs
  ):
    sizes = zip([image_dim, *hidden_dims], hidden_dims, strict=False)
    self.hidden = nnx.List([linear(size, next_size, rngs=rngs) for size, next_size in sizes])
    self.out = linear(hidden_dims[-1], word_dim, rngs=rngs)
    self.activation = activation
    self.dropout = Dropout(dropout)

  def __call__(
    self, image: Float[Array, "batch image_dim"], *, rngs: RowKeys | None = None
  ) -> Float[Array, "batch word_dim"]:
    """One word an image, as the text tower's embeddings have them."""
    states = image
    for layer in self.hidden:
      states = self.dropout(ACTIVATIONS[self.activation](layer(states)), rngs=rngs)
    return self.out(states)
