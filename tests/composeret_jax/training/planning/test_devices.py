import jax
from jax.experimental import topologies
import pytest

from composeret_jax.training.planning import devices
from data_pipelines.input_error import InputError


@pytest.fixture
def own_environment(monkeypatch):
  """What is set for libtpu is gone after the test."""
  for name in devices.LIBTPU_ENVIRONMENT:
    monkeypatch.setenv(name, "")


def refusing(error):
  def get_topology_desc(*_, **__):
    raise error

  return get_topology_desc


@pytest.mark.parametrize(
  ("topology", "error", "message"),
  [
    ("h100:8", None, "expected a TPU slice such as v5e:16x16. JAX's public interface describes GPUs only where"),
    ("v5e:2x2", RuntimeError("JAX TPU support not installed"), "needs libtpu, of the extra tpu: JAX TPU support"),
    ("v9:2x2", jax.errors.JaxRuntimeError("INVALID_ARGUMENT: Invalid"), "is no slice that libtpu knows: INVALID"),
  ],
)
def test_a_slice_that_cannot_be_had_is_refused_by_name(topology, error, message, config, monkeypatch, own_environment):
  monkeypatch.setattr(topologies, "get_topology_desc", refusing(error))
  with pytest.raises(InputError, match=f"--topology={topology}.*{message}"):
    devices.devices_of_slice(topology, config)
