"""How fast training goes, how much of the time it waits for data, and how much of the devices it uses."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import re
import time
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
import ml_collections
import optax

from composeret_jax.distributed import SplitRows
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import TrainState
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.workdir.mirror import Mirror
from data_pipelines.buckets.addresses import AnyPath


class Speed:
  """Measures from one report to the next; the time of compiling and of `paused` does not count."""

  def __init__(self, images_per_step: int, peak_flops: float | None = None, steps_per_call: int = 1):
    """`peak_flops` is what all devices together can do in a second, None where nobody knows."""
    self._images_per_step = images_per_step
    self._steps_per_call = steps_per_call
    self._peak_flops = peak_flops
    self._flops_per_step = 0.0
    self._compile_seconds: float | None = None
    self._mining_seconds = 0.0
    self._restart()

  def _restart(self) -> None:
    self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

  def watched(self, program: Callable, flops_per_step: Callable[..., float]) -> Callable:
    """`program`, a jitted function, whose first call counts as compiling: devices work on after a call returns.

    `flops_per_step` gives one step's operations for the same arguments; it is called while devices work, and reads
    only their shapes.
    """

    is_compiled = False

    def call(*args):
      nonlocal is_compiled
      if is_compiled:
        return program(*args)
      is_compiled = True
      with self.paused():
        start = time.perf_counter()
        outputs = program(*args)
        self._compile_seconds = time.perf_counter() - start
        self._flops_per_step = flops_per_step(*args)
      return outputs

    return call

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Wraps the wait for one call's batch."""
    start = time.perf_counter()
    yield
    self._waited += time.perf_counter() - start
    self._steps += self._steps_per_call

  def images_per_second(self) -> float:
    """Since the last report."""
    return self._steps / (time.perf_counter() - self._start) * self._images_per_step

  def report(self) -> dict[str, float]:
    """The metrics since the last report; starts anew. Those that cannot be known here are left out."""
    seconds = time.perf_counter() - self._start
    steps_per_second = self._steps / seconds
    metrics = {
      "speed/steps_per_second": steps_per_second,
      "speed/images_per_second": steps_per_second * self._images_per_step,
      "speed/data_wait_fraction": self._waited / seconds,
    }
    if self._flops_per_step:
      metrics["speed/model_flops_per_second"] = steps_per_second * self._flops_per_step
      if self._peak_flops:
        metrics["speed/mfu"] = metrics["speed/model_flops_per_second"] / self._peak_flops
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    known = [peak for peak in peaks if peak is not None]  # CPUs do not say
    if known:
      metrics["speed/peak_memory_bytes"] = max(known)
    if self._compile_seconds is not None:
      metrics["speed/compile_seconds"] = self._compile_seconds
      self._compile_seconds = None  # reported once
    if self._mining_seconds:
      metrics["speed/mining_seconds"] = self._mining_seconds
      self._mining_seconds = 0.0
    self._restart()
    return metrics

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Wraps what is not training, such as an evaluation."""
    start = time.perf_counter()
    yield
    self._start += time.perf_counter() - start

  @contextlib.contextmanager
  def mining(self) -> Iterator[None]:
    """Wraps the search for hard negatives, which is not training and reported by itself."""
    start = time.perf_counter()
    with self.paused():
      yield
    self._mining_seconds += time.perf_counter() - start


def new_speed(config: ml_collections.ConfigDict) -> Speed:
  """Measures the speed of a run with this whole configuration, from now on."""
  mined = config.hard_negatives.num if config.hard_negatives.every_steps else 0
  negatives = mined + config.data.get("negatives_per_query", 0)
  peak = peak_flops(config.model.image_encoder.dtype, config.peak_flops)
  return Speed((2 + negatives) * config.batch_size, peak, config.train.steps_per_call)


def flops_per_step(
  model: RetrievalModel,
  optimizer: optax.GradientTransformation,
  config: ml_collections.ConfigDict,
  parallel: Parallel,
  program: Any,
  state: TrainState,
  batches: Mapping[str, jax.Array],
  images: jax.Array | SplitRows | None,
) -> float:
  """One step's operations on the global batch; what microbatches compute a second time is not counted.

  `program` is what `parallel` has compiled. Where its call is one step of one device, its own trace is counted.
  """
  num_parts = parallel.mesh.size * parallel.steps_per_call * config.train.num_microbatches
  if parallel.kind == "jit" and num_parts == 1 and not parallel.splits_state:
    return _operations(program.trace(state, batches, images).jaxpr)
  config = config.copy_and_resolve_references()
  config.train.num_microbatches = 1
  step = make_train_step(model, optimizer, config)
  return program_flops(step, state, parallel.one_batch(batches, config.batch_size), images)


def program_flops(function: Callable, *args) -> float:
  """The operations of `function(*args)` on the whole of its arguments, however many devices may share the work.

  `args` are trees of arrays, of which only shapes and dtypes are read. Nothing is compiled. 0 where JAX
  is kept from the CPU, whose client counts for all platforms.
  """
  return _operations(_traced(function, args))


def _operations(program: ClosedJaxpr) -> float:
  platform = _own_platform()
  return _counted_by_xla(program, platform) + _repeated(program, platform)


def _own_platform() -> str:
  """The platform for lowering programs on the first device: a GPU's backend is called gpu, and its platform is not."""
  device = jax.devices()[0]
  makers = [name for name in ("cuda", "rocm") if name in device.client.platform_version.lower()]
  return makers[0] if device.platform == "gpu" and makers else device.platform


def repeated_flops(function: Callable, *args, platform: str) -> float:
  """The part of `program_flops` in iterations of loops after the first, which XLA does not count, on a `platform`."""
  return _repeated(_traced(function, args), platform)


def _traced(function: Callable, args: tuple) -> ClosedJaxpr:
  leaves, structure = jax.tree.flatten(args)
  shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in leaves]  # without their placement
  return jax.make_jaxpr(lambda *leaves: function(*jax.tree.unflatten(structure, leaves)))(*shapes)


def _repeated(program: ClosedJaxpr, platform: str) -> float:
  """XLA counts a loop's body once for all iterations, or for all in one turn of an unrolled loop."""
  repeated = 0.0
  for length, copies, body in _loops(program.jaxpr, platform):
    once = _counted_by_xla(body, platform)
    repeated += length * (once + _repeated(body, platform)) - copies * once
  return repeated


def _counted_by_xla(program: ClosedJaxpr, platform: str) -> float:
  shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in program.in_avals]
  traced = jax.jit(jaxpr_as_fun(program)).trace(*shapes)
  try:
    cpu = jax.devices("cpu")[0]
  except RuntimeError:  # JAX_PLATFORMS leaves it out
    return 0.0
  with jax.default_device(cpu):  # a GPU's client counts nothing before it compiles
    lowered = traced.lower(lowering_platforms=(platform,))
  return (lowered.cost_analysis() or {}).get("flops", 0.0)


def _loops(program: Jaxpr, platform: str) -> Iterator[tuple[int, int, ClosedJaxpr]]:
  """The outermost scans: iterations, iterations in one turn of XLA's loop, and body."""
  for equation in program.eqns:
    if equation.primitive.name == "scan":
      yield equation.params["length"], equation.params["unroll"], equation.params["jaxpr"]
      continue
    platforms = equation.params.get("branches_platforms")
    parts = jax.tree.leaves(list(equation.params.values()))
    if platforms:  # a choice by platform: the branch that runs there alone, as XLA has it
      pairs = zip(platforms, equation.params["branches"], strict=True)
      parts = [next(branch for names, branch in pairs if names is None or platform in names)]
    for part in parts:
      if isinstance(part, ClosedJaxpr):
        yield from _loops(part.jaxpr, platform)
      elif isinstance(part, Jaxpr):
        yield from _loops(part, platform)


# Dense FLOP/s of one device (bfloat16, float32) by jax's device_kind, as makers state them; sparsity would double most.
# float32 is what JAX does with it by default: TF32 on GPUs that have it, bfloat16 products on TPUs.
# None: no such units. All are looked up, A100, H100 PCIe, H200 and L4 in pages that quote the data sheets, but for
# the V100 PCIe, which is still to be checked.
PEAK_FLOPS = {
  # NVIDIA A100 data sheet: TF32 156, BF16 312 TFLOPS.
  "NVIDIA A100-SXM4-40GB": (312e12, 156e12),
  "NVIDIA A100-SXM4-80GB": (312e12, 156e12),
  "NVIDIA A100-PCIE-40GB": (312e12, 156e12),
  "NVIDIA A100 80GB PCIe": (312e12, 156e12),
  # NVIDIA H100 Tensor Core GPU Architecture white paper: SXM5 and PCIe, without sparsity.
  "NVIDIA H100 80GB HBM3": (989.4e12, 494.7e12),
  "NVIDIA H100 PCIe": (756e12, 378e12),
  # NVIDIA H200 data sheet: SXM, the same as the H100's.
  "NVIDIA H200": (989.4e12, 494.7e12),
  # NVIDIA L4 data sheet: half of the figures with sparsity, TF32 120 and BF16 242 TFLOPS.
  "NVIDIA L4": (121e12, 60e12),
  # NVIDIA V100 data sheet: single precision 15.7 (SXM2) and 14 (PCIe) TFLOPS.
  "Tesla V100-SXM2-16GB": (None, 15.7e12),
  "Tesla V100-SXM2-32GB": (None, 15.7e12),
  "Tesla V100-PCIE-16GB": (None, 14e12),
  "Tesla V100-PCIE-32GB": (None, 14e12),
  # NVIDIA T4 data sheet: single precision 8.1 TFLOPS.
  "Tesla T4": (None, 8.1e12),
  # Google Cloud TPU documentation, one page a version: peak compute per chip (bf16).
  "TPU v4": (275e12, 275e12),
  "TPU v5 lite": (197e12, 197e12),
  "TPU v5e": (197e12, 197e12),
  "TPU v5": (459e12, 459e12),
  "TPU v5p": (459e12, 459e12),
  "TPU v6 lite": (918e12, 918e12),
  "TPU v6e": (918e12, 918e12),
}


def peak_flops(dtype: str, per_device: float) -> float | None:
  """FLOP/s of all devices of the job, `per_device` each, or what the table says for `dtype` where that is 0.

  `dtype` is "bfloat16" or "float32". None for a device that the table does not have.
  """
  bfloat16, float32 = PEAK_FLOPS.get(jax.devices()[0].device_kind, (None, None))
  known = per_device or {"bfloat16": bfloat16, "float32": float32}[dtype]
  return known * jax.device_count() if known else None


def parse_steps(text: str) -> range:
  """ "10:15" as steps 10 to 14, counted from 1, and "" as none; raises ValueError for anything else."""
  if not text:
    return range(0)
  match = re.fullmatch(r"(\d+):(\d+)", text)
  steps = range(int(match[1]), int(match[2])) if match else range(0)
  if not steps or steps.start < 1:
    raise ValueError(f"{text!r} is not FIRST:STOP, as 10:15 for steps 10 to 14")
  return steps


class StepTrace:
  """Writes one trace of `steps` under `folder`; a run that does not come by them writes none."""

  def __init__(self, steps: range, folder: AnyPath):
    self._steps = steps
    self._folder = folder
    self._running = False

  def __enter__(self) -> "StepTrace":
    return self

  def __exit__(self, *_) -> None:
    if self._running:
      self._stop()

  def before(self, step: int) -> None:
    """Starts the trace ahead of its first step."""
    if step in self._steps and not self._running:
      self._mirror = Mirror(self._folder)
      jax.profiler.start_trace(str(self._mirror.folder))
      self._running = True

  def after(self, step: int, outputs) -> None:
    """Waits for the last step's `outputs`, and ends the trace."""
    if self._running and step + 1 >= self._steps.stop:
      jax.block_until_ready(outputs)
      self._stop()

  def _stop(self) -> None:
    jax.profiler.stop_trace()
    self._mirror.close()
    self._running = False
