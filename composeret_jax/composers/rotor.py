"""Rotor: the text moves the image feature, read as complex numbers, and its conjugate moves it back.

A feature x of width D is D / 2 complex numbers, x[k] + i x[k + D / 2]. With x and t the image and the text feature,
each scaled to a root mean square of 1, which keeps its direction:

  angles    a = pi tanh(V tanh(U t))         the motion is a rigid one: it turns each number by an angle
  shift     b = Q tanh(P t)                  and shifts it; b carries what the reference has no trace of
  moved     m(x) = x exp(i a) + b            whose inverse, m'(x) = (x - b) exp(-i a), is exact
  gate      g = sigmoid(G [x, t])            how much of each number is moved; starts near a half
  composed  c = x + g (m(x) - x)

The conjugate moves by m' and its gate reads -t. The image decoder moves c back by m' and maps it linearly; the text
decoder is a two-layer network.
"""

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Array, Float

from composeret_jax.composers.composer import Composer
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.layers.linear import linear, Mlp


class Rotor(Composer):
  """Composes by a gated rigid motion; `rotates` and `shifts` switch its parts off."""

  losses = ("main", "image_reconstruction", "text_reconstruction", "rotational_symmetry")

  def __init__(self, image_dim: int, text_dim: int, *, rotates: bool = True, shifts: bool = True, rngs: nnx.Rngs):
    """Raises ValueError for an odd `image_dim`, which is no number of complex numbers."""
    if image_dim % 2:
      raise ValueError(f"image_dim is {image_dim}, expected an even number")
    self.angle = TanhMlp(text_dim, image_dim, image_dim // 2, rngs=rngs) if rotates else None
    self.shift = TanhMlp(text_dim, image_dim, image_dim, rngs=rngs) if shifts else None
    self.gate = linear(image_dim + text_dim, image_dim, rngs=rngs)
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
    """Returns the composed feature. `conjugate` moves the other way; there is no dropout for `rngs` to feed."""
    image, text = normalised(image), normalised(text)
    moved = self.move_back(image, text) if conjugate else self.move(image, text)
    gate = nnx.sigmoid(self.gate(jnp.concatenate([image, -text if conjugate else text], axis=-1)))
    return image + gate * (moved - image)

  def move(
    self, features: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Turns `features` by the text's angles, then shifts them."""
    turned = turn(features, jnp.pi * jnp.tanh(self.angle(text))) if self.angle else features
    return turned + self.shift(text) if self.shift else turned

  def move_back(
    self, features: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """The inverse of `move`."""
    turned = features - self.shift(text) if self.shift else features
    return turn(turned, -jnp.pi * jnp.tanh(self.angle(text))) if self.angle else turned

  def both_ways(
    self,
    reference: Float[Array, "batch image_dim"],
    target: Float[Array, "batch image_dim"],
    text: Float[Array, "batch text_dim"],
    *,
    rngs: RowKeys | None = None,
  ) -> tuple[Float[Array, "batch image_dim"], Float[Array, "batch image_dim"]]:
    """The reference composed, and the target moved back."""
    return self(reference, text, rngs=rngs), self(target, text, conjugate=True, rngs=rngs)

  def decode_image(
    self, composed: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"]
  ) -> Float[Array, "batch image_dim"]:
    """Rebuilds the image feature that was composed: moves it back, then maps."""
    return self.image_decoder(self.move_back(composed, normalised(text)))

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


def normalised(features: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
  """Each row scaled to a root mean square of 1."""
  return features / jnp.sqrt(jnp.square(features).mean(axis=-1, keepdims=True) + 1e-5)
