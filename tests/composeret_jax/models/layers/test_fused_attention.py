"""Attention with cuDNN's padding, by XLA's implementation, against a softmax written out; no CPU has cuDNN's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.layers.fused_attention import cudnn_attends, fused_attention


def written_out(query, key, value, causal):
  scores = np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(query.shape[-1])
  if causal:
    scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [4, 5])
def test_odd_lengths_are_padded_out_of_sight(length, causal):
  rng = np.random.default_rng(0)
  arrays = [rng.normal(size=(2, length, 3, 8)).astype(np.float32) for _ in range(3)]

  def total(*arrays):
    return jnp.sin(fused_attention(*arrays, causal=causal, implementation="xla")).sum()

  attended = fused_attention(*map(jnp.asarray, arrays), causal=causal, implementation="xla")
  np.testing.assert_allclose(attended, written_out(*arrays, causal), rtol=1e-4, atol=1e-5)
  assert all(np.isfinite(gradient).all() for gradient in jax.grad(total, argnums=(0, 1, 2))(*arrays))


def test_a_cpu_has_no_cudnn():
  assert not cudnn_attends(jnp.zeros((1, 2, 1, 8), jnp.bfloat16))
