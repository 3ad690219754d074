"""Compiles an abstract step, and reads from the compiled program what it needs of each device."""

import math
import re
from typing import Any

import jax
from jaxtyping import PyTree

from composeret_jax.training.planning.abstract_step import AbstractStep
from composeret_jax.training.planning.collectives import collectives
from composeret_jax.training.planning.devices import Devices
from composeret_jax.training.planning.report import Report

# With its usual effort the TPU compiler does not end with a ResNet; with the least it ends in a minute.
TPU_OPTIONS: dict[str, Any] = {"exec_time_optimization_effort": -1.0}
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def report_of(step: AbstractStep, devices: Devices) -> Report:
  """Compiles the step for the mesh of `devices`, and runs nothing.

  A step that does not fit their memory has a report too.
  """
  params = step.state["variables"].params
  known: dict[str, Any] = {
    "devices": devices.name,
    "num_devices": devices.mesh.size,
    "batch_size": step.config.batch_size,
    "parallel": step.config.parallel,
    "num_parameters": sum(math.prod(array.shape) for array in jax.tree.leaves(params)),
    "memory_bytes_per_device": devices.memory_bytes,
    "parameter_bytes_per_device": own_bytes(params),
    "state_bytes_per_device": own_bytes(step.state),
    "batch_bytes_per_device": own_bytes((step.batches, step.images)),
  }
  lowered = step.lower()
  try:
    compiled = lowered.compile(TPU_OPTIONS if devices.platform == "tpu" else None)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    problem = str(error).partition("\n")[0]
    return Report(**known, fits=False, peak_bytes_per_device=needed_bytes(problem), problem=problem)
  return Report(**known, **_memory(compiled, devices), **_sent(compiled, step), **_work(compiled, step, devices))


def _memory(compiled: jax.stages.Compiled, devices: Devices) -> dict[str, Any]:
  """A report's fields of what a device holds while the program runs."""
  held: Any = compiled.memory_analysis()
  given_and_returned = held.argument_size_in_bytes + held.output_size_in_bytes - held.alias_size_in_bytes
  # A CPU's compiler leaves temporary arrays out of its own peak.
  peak = max(held.peak_memory_in_bytes, given_and_returned + held.temp_size_in_bytes)
  return {
    "activation_bytes_per_device": held.temp_size_in_bytes,
    "peak_bytes_per_device": peak,
    "fits": peak <= devices.memory_bytes,
  }


def _sent(compiled: jax.stages.Compiled, step: AbstractStep) -> dict[str, Any]:
  """A report's fields of what devices send to each other; a call may be several steps."""
  steps = step.config.train.steps_per_call
  sent = collectives(compiled.as_text() or "", step.parallel.mesh.size)
  return {
    "collectives": {kind: it.share(steps) for kind, it in sent.items()},
    "collective_bytes_per_device": sum(it.share(steps).num_bytes for it in sent.values()),
  }


def _work(compiled: jax.stages.Compiled, step: AbstractStep, devices: Devices) -> dict[str, Any]:
  """A report's fields of operations and time.

  The compiler counts the body of a loop once, and so one step where a call is a loop of several.
  """
  cost = compiled.cost_analysis() or {}
  counted = cost.get("flops")
  if not counted:
    return {}
  flops = counted + step.repeated_flops() / devices.mesh.size
  seconds = cost.get("optimal_seconds", 0) * flops / counted
  fields = {"flops_per_device": flops, "read_and_written_bytes_per_device": cost.get("bytes accessed")}
  if seconds > 0:  # the compiler's number can be negative
    fields["estimated_seconds"] = seconds
    if devices.peak_flops:
      fields["model_share_of_peak"] = step.model_flops() / devices.mesh.size / seconds / devices.peak_flops
  return fields


def own_bytes(arrays: PyTree) -> int:
  """The bytes on one device of arrays that are given as shapes with shardings."""
  leaves = jax.tree.leaves(arrays)
  return sum(math.prod(it.sharding.shard_shape(it.shape)) * it.dtype.itemsize for it in leaves)


def needed_bytes(problem: str) -> int | None:
  """The memory that a program needs, from the words of the compiler that refuses it; None where they do not tell."""
  match = re.search(r"\((\d+(?:\.\d+)?)([KMGT])\) exceeds|Used (\d+(?:\.\d+)?)([KMGT]) of", problem)
  if not match:
    return None
  number, unit = (part for part in match.groups() if part)
  return int(float(number) * UNITS[unit])
