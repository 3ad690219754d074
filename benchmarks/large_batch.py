"""Memory and speed of the ComposeAE step (ResNet-18, LSTM) as the batch grows: in microbatches, whole, and in PyTorch.

python -m benchmarks.large_batch --batch_sizes=1024,4096,32768 --output=large_batch.json    # on a GPU
python -m benchmarks.large_batch --batch_sizes=32,128 --microbatch=16 --image_size=64 --dtype=float32    # on a CPU

Each contender has a process of its own, and each batch size another. One that fails, for want of memory as a rule, is
shown as failed with the last line that it said. Memory is the device's peak or, on a CPU, the process's.
"""

from collections.abc import Callable
import importlib.util
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

from absl import app, flags
import numpy as np

from benchmarks.contenders import peak_gigabytes, report

ROOT = pathlib.Path(__file__).parent.parent
CONTENDERS = ("microbatches", "whole", "pytorch")
DIM, VOCABULARY_SIZE, TEXT_LENGTH = 512, 1_000, 8

_BATCH_SIZES = flags.DEFINE_list(
  "batch_sizes", ["1024", "4096", "32768"], "Triplets a step; multiples of --microbatch."
)
_MICROBATCH = flags.DEFINE_integer("microbatch", 256, "Triplets that are encoded at a time.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ["float32", "bfloat16"], "What convolutions compute in.")
_BLOCK_ROWS = flags.DEFINE_integer("loss_block_rows", 1024, "Rows of similarities at a time, with microbatches.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 3, "Timed steps, after one that is not.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_CONTENDER = flags.DEFINE_enum("contender", None, CONTENDERS, "Runs this one alone, for --batch_sizes' first.")


def random_batch(batch_size: int) -> dict[str, np.ndarray]:
  """Pixels and tokens for one step."""
  rng = np.random.default_rng(0)
  shape = (batch_size, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
  images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in ("reference", "target")}
  return images | {"text": rng.integers(0, VOCABULARY_SIZE, (batch_size, TEXT_LENGTH), dtype=np.int32)}


def build(contender: str, batch_size: int) -> tuple[Callable[[], None], Callable[[], None], int, str]:
  """As the two step modules' build: step, wait, number of parameters, device."""
  options = {"vocabulary_size": VOCABULARY_SIZE, "dim": DIM, "dtype": _DTYPE.value, "composer_only": False}
  options["loss"] = "batch_based_classification"
  if contender == "pytorch":
    from benchmarks import torch_step

    return torch_step.build(random_batch(batch_size), **options)
  from benchmarks import jax_step

  if contender == "microbatches":
    options |= {"num_microbatches": batch_size // _MICROBATCH.value, "loss_block_rows": _BLOCK_ROWS.value}
  return jax_step.build(random_batch(batch_size), **options)


def peak_memory(contender: str, device: str) -> float:
  """Gigabytes."""
  if device == "cpu":
    return peak_gigabytes()
  if contender == "pytorch":
    import torch

    return torch.cuda.max_memory_allocated() / 1e9
  import jax

  return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 1e9


def run_contender(contender: str, batch_size: int) -> dict[str, Any]:
  """Speed and peak memory of one contender, in this process."""
  step, wait, _, device = build(contender, batch_size)
  step()
  wait()
  start = time.perf_counter()
  for _ in range(_NUM_STEPS.value):
    step()
  wait()
  seconds = (time.perf_counter() - start) / _NUM_STEPS.value
  speed = 2 * batch_size / seconds
  return {"images_per_second": speed, "peak_gb": peak_memory(contender, device), "device": device, "failed": ""}


def run_alone(contender: str, batch_size: int) -> dict[str, Any]:
  """`run_contender` in a process of its own; where that fails, why."""
  arguments = [*sys.argv[1:], f"--batch_sizes={batch_size}", f"--contender={contender}"]
  command = [sys.executable, "-m", "benchmarks.large_batch", *arguments]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  if done.returncode:
    reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return {"images_per_second": float("nan"), "peak_gb": float("nan"), "device": "", "failed": reason[:80]}
  return json.loads(done.stdout.splitlines()[-1])


def main(_) -> None:
  """Compares all contenders, or runs one."""
  batch_sizes = [int(size) for size in _BATCH_SIZES.value]
  uneven = [size for size in batch_sizes if size % _MICROBATCH.value]
  if uneven:
    sys.exit(f"error: --batch_sizes has {uneven}, expected multiples of --microbatch={_MICROBATCH.value}")
  if _CONTENDER.value:
    print(json.dumps(run_contender(_CONTENDER.value, batch_sizes[0])))
    return
  contenders = [name for name in CONTENDERS if name != "pytorch" or importlib.util.find_spec("torch")]
  rows = [{"batch": size, "contender": name, **run_alone(name, size)} for size in batch_sizes for name in contenders]
  report(f"ComposeAE, {_IMAGE_SIZE.value} pixels, {_DTYPE.value}, {_MICROBATCH.value} at a time", rows, _OUTPUT.value)


if __name__ == "__main__":
  app.run(main)
