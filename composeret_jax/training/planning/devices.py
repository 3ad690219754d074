"""The devices that a step is compiled for: this job's, or a TPU slice that is not there."""

import dataclasses
import os
import re
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh
import ml_collections
import numpy as np

from composeret_jax.distributed import AXIS, data_mesh
from composeret_jax.training.batches import device_memory
from composeret_jax.training.config.check import check_config
from composeret_jax.training.profiling import peak_flops
from data_pipelines.input_error import InputError

# For libtpu where no TPU is: not to ask a metadata server for neighbours, not to be alone on this machine, no warnings.
LIBTPU_ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_WORKER_ID": "0",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_STDERR_LOG_LEVEL": "3",
  "TPU_MIN_LOG_LEVEL": "3",
}


# By device_kind: the GiB of a device that a program can have, as the compiler says where one needs more; and bfloat16
# FLOP/s, by which a TPU multiplies float32 too (Google Cloud TPU documentation, peak compute per chip). A device of v2,
# v3, v4 and TPU7x is one of the two cores of a chip, and has half of these.
TPUS = {
  "TPU v2": (7.48, 23e12),
  "TPU v3": (15.48, 61.5e12),
  "TPU v4": (15.25, 137.5e12),
  "TPU v5 lite": (15.75, 197e12),
  "TPU v5": (95.74, 459e12),
  "TPU v6 lite": (31.25, 918e12),
  "TPU7x": (94.75, 1153.5e12),
}


@dataclasses.dataclass(frozen=True)
class Devices:
  """A mesh of devices, how they are called, and what each has: bytes of memory, and FLOP/s where these are known."""

  name: str
  mesh: Mesh
  memory_bytes: int
  peak_flops: float | None

  @property
  def platform(self) -> str:
    """JAX's name of it."""
    return self.mesh.devices.flat[0].platform


def devices_here(config: ml_collections.ConfigDict) -> Devices:
  """The devices of this job, for a run with this whole configuration."""
  mesh = data_mesh()
  check_config(config, mesh.size)
  flops = peak_flops(config.model.image_encoder.dtype, config.peak_flops)
  kind = mesh.devices.flat[0].device_kind
  return Devices(kind, mesh, device_memory(mesh), flops / mesh.size if flops else None)


def devices_of_slice(topology: str, config: ml_collections.ConfigDict) -> Devices:
  """The devices of the TPU slice `topology`, as v5e:16x16, of which none needs to be there.

  Raises InputError for a name that is no slice, where libtpu is not installed, and for a configuration that cannot run
  on so many devices.
  """
  if not re.fullmatch(r"(v\d+[a-z]*|tpu\d+x):\d+(x\d+)*", topology):
    raise InputError(
      f"--topology={topology}, expected a TPU slice such as v5e:16x16. JAX's public interface describes GPUs only "
      "where they are: leave --topology out on a machine that has them"
    )
  for name, value in LIBTPU_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  # By default a host has 2x2 chips, which a slice of one chip does not fill.
  bounds = {"chips_per_host_bounds": [1, 1, 1]} if topology.endswith(":1x1") else {}
  try:
    described: Any = topologies.get_topology_desc(topology, platform="tpu", **bounds).devices
  except jax.errors.JaxRuntimeError as error:
    raise InputError(f"--topology={topology} is no slice that libtpu knows: {error}") from error
  except RuntimeError as error:
    raise InputError(f"--topology={topology} needs libtpu, of the extra tpu: {error}") from error
  kind = described[0].device_kind
  if kind not in TPUS:
    raise InputError(f"--topology={topology} has devices of kind {kind!r}, expected one of {', '.join(TPUS)}")
  check_config(config, len(described))
  gib, flops = TPUS[kind]
  return Devices(
    f"{topology}, {kind}", Mesh(np.array(described), (AXIS,)), int(gib * 2**30), config.peak_flops or flops
  )
