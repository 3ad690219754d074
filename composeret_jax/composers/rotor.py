"""Rotor: the text turns the image feature, read as complex numbers, and its negative turns it back.

A feature x of width D is D / 2 complex numbers, x[k] + i x[k + D / 2]. With x the image feature, scaled to a root mean
square of 1, which keeps its direction, t the text feature after batch norm, which takes away what all texts share, and
s = 1, or s = -1 to turn back:

  angles    a = pi tanh(V tanh(U s t))           odd in the text, so that -t turns by the opposite angles
  turned    y = x exp(i a)                       keeps every length, and turning by -a gives x again
  gate      g = sigmoid(G [x, s t])              how much of each number is turned; starts near a half
  residual  f = MLP([y, s t])                    what a rotation cannot say; half of its hidden values are dropped
  composed  c = x + g (y - x) + w f              w is learned, and starts at 1

The image decoder turns c back and maps it linearly; the text decoder is a two-layer network.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.batch_norm import BatchNorm
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import linear, Mlp


class Rotor(Composer):
  """Composes by rotation, gate and residual; `rotates` and `has_residual` switch the first and the last off."""

  losses = ("main", "image_reconstruction", "text_reconstruction", "rotational_symmetry")

  def __init__(self, image_dim: int, text_dim: int, *, rotates: bool = True, has_residual: bool = True, rngs: nnx.Rngs):
    """Raises ValueError for an odd `image_dim`, which is no number of complex numbers."""
    if image_dim % 2:
      raise ValueError(f"image_dim is {image_dim}, expected an even number")
    both_dim = image_dim + text_dim
    self.text_norm = BatchNorm(text_dim)
    self.angle = Angle(text_dim, image_dim // 2, rngs=rngs) if rotates else None
    self.gate = linear(both_dim, image_dim, rngs=rngs)
    self.residual = Mlp(both_dim, both_dim, image_dim, dropout_rate=0.5, rngs=rngs) if has_residual else None
    self.residual_weight = nnx.Param(jnp.array(1.0, jnp.float32)) if has_residual else None
    self.image_decoder = linear(image_dim, image_dim, rngs=rngs)
    self.text_decoder = Mlp(image_dim, text_dim, text_dim, rngs=rngs)

  def __call__(
    self,
    image: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    conjugate: bool = False,
    rngs: RowKeys | None = None,
  ) -> Float[Array, "batch image_dim"]:
    """Returns the composed feature. `conjugate` turns the other way; `rngs` feeds dropout in training."""
    image, text = normalised(image), self.text_norm(text)
    text = -text if conjugate else text
    turned = turn(image, self.angle(text)) if self.angle else image
    gate = nnx.sigmoid(self.gate(jnp.concatenate([image, text], axis=-1)))
    composed = image + gate * (turned - image)
    if self.residual is None:
      return composed
    return composed + self.residual_weight * self.residual(jnp.concatenate([turned, text], axis=-1), rngs=rngs)

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """The reference composed, and the target turned back."""
    return self(reference, text, rngs=rngs), self(target, text, conjugate=True, rngs=rngs)

  def decode_image(
    self, composed: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Rebuilds the image feature that was composed: turns back what the text has turned, then maps."""
    return self.image_decoder(turn(composed, -self.angle(self.text_norm(text))) if self.angle else composed)

  def decode_text(self, composed: Float[Array, "batch image_dim"]) -> Float[Array, "batch text_dim"]:
    """Rebuilds the text feature that was composed."""
    return self.text_decoder(composed)


class Angle(nnx.Module):
  """pi tanh(V tanh(U text)): in (-pi, pi), and odd."""

  def __init__(self, text_dim: int, num_angles: int, *, rngs: nnx.Rngs):
    self.hidden = nnx.Linear(text_dim, 2 * num_angles, use_bias=False, rngs=rngs)
    self.out = nnx.Linear(2 * num_angles, num_angles, use_bias=False, rngs=rngs)

  def __call__(self, text: Float[Array, "batch text_dim"]) -> Float[Array, "batch num_angles"]:
    """Returns the angles in radians."""
    return jnp.pi * jnp.tanh(self.out(jnp.tanh(self.hidden(text))))


def turn(features: Float[Array, "batch dim"], angles: Float[Array, "batch half"]) -> Float[Array, "batch dim"]:
  """Turns each of a feature's dim / 2 complex numbers, real parts first, by its angle in radians."""
  real, imaginary = jnp.split(features, 2, axis=-1)
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  return jnp.concatenate([real * cos - imaginary * sin, real * sin + imaginary * cos], axis=-1)


def normalised(features: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
  """Each row scaled to a root mean square of 1."""
  return features / jnp.sqrt(jnp.square(features).mean(axis=-1, keepdims=True) + 1e-5)
