"""Rotor: the text moves the image feature, read as complex numbers, and its conjugate moves it back.

A feature x of width D is D / 2 complex numbers, x[k] + i x[k + D / 2]. With x the image feature, and t the text feature
scaled to a root mean square of 1, which keeps its direction:

  angles    a = pi tanh(V tanh(U t))
  gate      g = sigmoid(G [x, t])             how much of each number is turned; starts near a half
  shift     b = Q tanh(P t)                   what the text adds, whatever the image: it cannot learn images by heart
  composed  c = x + g (x exp(i a) - x) + b

With the gate open this is a rigid motion, m(x) = x exp(i a) + b, whose inverse m'(x) = (x - b) exp(-i a) is exact. The
conjugate composes with the opposite shift, first, and the opposite angles, and its gate reads -t. The image decoder
moves c back by m' and maps it linearly; the text decoder is a two-layer network.
"""

from typing import ClassVar

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.models.composers.composer import Composer
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.linear import linear, Mlp
from data_pipelines.field_rules import boolean
from data_pipelines.input_error import InputError


class Rotor(Composer):
  """Composes by a gated rotation and a shift.

  The options are ablations: without `rotates`, `gates` or `shifts` there is no rotation, a gate that is open, or no
  shift. With `scales_image` the image feature is scaled as the text feature is, so that its length counts for nothing.
  """

  losses = ("main", "image_reconstruction", "text_reconstruction", "rotational_symmetry")
  options: ClassVar = dict.fromkeys(("rotates", "gates", "shifts", "scales_image"), boolean)

  def __init__(
    self,
    image_dim: int,
    text_dim: int,
    *,
    rotates: bool = True,
    gates: bool = True,
    shifts: bool = True,
    scales_image: bool = True,
    rngs: nnx.Rngs,
  ):
    """Raises InputError for an odd `image_dim`, which is no number of complex numbers."""
    if expected := self.expected_image_dim(image_dim):
      raise InputError(f"features of images have {image_dim} numbers, expected {expected}")
    self.angle = TanhMlp(text_dim, image_dim, image_dim // 2, rngs=rngs) if rotates else None
    self.shift = TanhMlp(text_dim, image_dim, image_dim, rngs=rngs) if shifts else None
    self.gate = linear(image_dim + text_dim, image_dim, rngs=rngs) if gates else None
    self.scales_image = scales_image
    self.image_decoder = linear(image_dim, image_dim, rngs=rngs)
    self.text_decoder = Mlp(image_dim, text_dim, text_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature; there is no dropout for `rngs` to feed."""
    image, text = self.scaled(image), normalised(text)
    angles, shift = self.motion(text)
    return turn_partly(image, angles, self.openness(image, text)) + shift

  @staticmethod
  def expected_image_dim(image_dim: int) -> str:
    """Complex numbers have two parts."""
    return "an even number: the rotor reads it as complex numbers" if image_dim % 2 else ""

  def scaled(self, image: Float[Array, "batch image_dim"]) -> Float[Array, "batch image_dim"]:
    """The part of an image feature that is moved: the feature, scaled or not."""
    return normalised(image) if self.scales_image else image

  def openness(
    self, image: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """The gate, in (0, 1), of an image feature and a normalised text; 1 without one."""
    if self.gate is None:
      return jnp.ones_like(image)
    return nnx.sigmoid(self.gate(jnp.concatenate([image, text], axis=-1)))

  def motion(
    self, text: Float[Array, "batch text_dim"]
  ) -> tuple[Float[Array, "batch half"], Float[Array, "batch image_dim"]]:
    """The angles, in radians, and the shift that a normalised text asks for."""
    half = self.image_decoder.out_features // 2
    angles = jnp.pi * jnp.tanh(self.angle(text)) if self.angle else jnp.zeros((len(text), half))
    return angles, self.shift(text) if self.shift else jnp.zeros((len(text), 2 * half))

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """The reference composed, and the target moved back, by one motion that is computed once."""
    reference, target, text = self.scaled(reference), self.scaled(target), normalised(text)
    angles, shift = self.motion(text)
    composed = turn_partly(reference, angles, self.openness(reference, text)) + shift
    return composed, turn_partly(target - shift, -angles, self.openness(target, -text))

  def decode_image(
    self, composed: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Rebuilds the image feature that was composed: moves it back, then maps."""
    angles, shift = self.motion(normalised(text))
    return self.image_decoder(turn(composed - shift, -angles))

  def decode_text(self, composed: Float[Array, "batch image_dim"]) -> Float[Array, "batch text_dim"]:
    """Rebuilds the text feature that was composed."""
    return self.text_decoder(composed)


class TanhMlp(nnx.Module):
  """V tanh(U inputs): two layers without biases, odd in their inputs, so that no text means no motion."""

  def __init__(self, in_features: int, hidden: int, out_features: int, *, rngs: nnx.Rngs):
    self.hidden = nnx.Linear(in_features, hidden, use_bias=False, rngs=rngs)
    self.out = nnx.Linear(hidden, out_features, use_bias=False, rngs=rngs)

  def __call__(self, inputs: Float[Array, "batch in_features"]) -> Float[Array, "batch out_features"]:
    """Returns what the second layer gives."""
    return self.out(jnp.tanh(self.hidden(inputs)))


def turn(features: Float[Array, "batch dim"], angles: Float[Array, "batch half"]) -> Float[Array, "batch dim"]:
  """Turns each of a feature's dim / 2 complex numbers, real parts first, by its angle in radians."""
  real, imaginary = jnp.split(features, 2, axis=-1)
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  return jnp.concatenate([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1)


def turn_partly(
  features: Float[Array, "batch dim"], angles: Float[Array, "batch half"], openness: Float[Array, "batch dim"]
) -> Float[Array, "batch dim"]:
  """Like `turn`, in proportion to `openness`: 0 does not change a number, 1 turns it whole."""
  return features + openness * (turn(features, angles) - features)


def normalised(features: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
  """Each row scaled to a root mean square of 1."""
  return features / jnp.sqrt(jnp.square(features).mean(axis=-1, keepdims=True) + 1e-5)
