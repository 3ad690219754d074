"""Attention's masks against each other."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.models.encoders.transformer import Attention


def test_causal_attention_is_that_of_a_triangular_mask():
  attention = Attention(8, 2, dtype=jnp.float32, rngs=nnx.Rngs(0))
  params = nnx.state(attention, nnx.Param)
  keys = iter(jax.random.split(jax.random.key(0), 100))
  nnx.update(attention, jax.tree.map(lambda array: jax.random.normal(next(keys), array.shape), params))
  states = jax.random.normal(jax.random.key(1), (3, 5, 8))
  seen = jnp.tril(jnp.ones((5, 5), bool))[None, None]
  np.testing.assert_allclose(attention(states, causal=True), attention(states, seen), rtol=1e-6)
  padding = jnp.array([[1, 1, 1, 0, 0]], bool)[:, None, None]
  np.testing.assert_allclose(attention(states, padding, causal=True), attention(states, seen & padding), rtol=1e-6)
  assert not np.allclose(attention(states, causal=True), attention(states))
