"""Attention with cuDNN's padding, by XLA's implementation, against a softmax written out; no CPU has cuDNN's."""

import types

from flax import nnx
import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.encoders.transformer import Attention
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


@pytest.mark.parametrize("causal", [False, True])
def test_a_program_that_a_gpu_exports_for_any_batch_runs_on_all_platforms(monkeypatch, causal):
  gpu = types.SimpleNamespace(client=types.SimpleNamespace(platform_version="cuda 13"), compute_capability="9.0")
  attention = Attention(16, 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
  attention.eval()
  rows = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), 4, 16), jnp.float32)
  attend = jax.jit(lambda states: attention(states, causal=causal))
  with monkeypatch.context() as patched:
    patched.setattr(jax, "devices", lambda: [gpu])
    assert cudnn_attends(jnp.zeros((3, 4, 2, 8), jnp.bfloat16))
    program = export.export(attend, platforms=("cpu", "cuda", "tpu"))(rows)
  states = jax.random.normal(jax.random.key(0), (3, 4, 16))
  np.testing.assert_array_equal(program.call(states), attend(states))
