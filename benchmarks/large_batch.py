"""Memory and speed of the ComposeAE step (ResNet-18, LSTM) as the batch grows: in microbatches, whole, and in PyTorch.

python -m benchmarks.large_batch --batch_sizes=1024,4096,32768 --output=large_batch.json    # on a GPU
python -m benchmarks.large_batch --batch_sizes=32,128 --microbatch=16 --image_size=64 --dtype=float32    # on a CPU

Each contender has a process of its own, and each batch size another. One that fails, for want of memory as a rule, is
shown as failed with the last line that it said. Memory is the device's peak or, on a CPU, the process's.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
from typing import Any

from absl import app, flags

from benchmarks.built_step import BuiltStep
from benchmarks.contenders import peak_gigabytes, report
from benchmarks.random_batch import DIM, pixels_and_tokens, VOCABULARY_SIZE

ROOT = pathlib.Path(__file__).parent.parent
CONTENDERS = ("microbatches", "whole", "pytorch")

_BATCH_SIZES = flags.DEFINE_list(
  "batch_sizes", ["1024", "4096", "32768"], "Triplets a step; multiples of --microbatch."
)
_MICROBATCH = flags.DEFINE_integer("microbatch", 256, "Triplets that are encoded at a time.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ["float32", "bfloat16"], "What convolutions compute in.")
_BLOCK_ROWS = flags.DEFINE_integer("loss_block_rows", 1024, "Rows of similarities at a time, with microbatches.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 3, "Timed steps, after one that is not.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_CONTENDERS = flags.DEFINE_multi_enum("contenders", CONTENDERS, CONTENDERS, "Those to compare, one a flag.")
_CONTENDER = flags.DEFINE_enum("contender", None, CONTENDERS, "Runs this one alone, for --batch_sizes' first.")


def build(contender: str, batch_size: int) -> BuiltStep:
  """A contender's step on made-up images."""
  options = {"vocabulary_size": VOCABULARY_SIZE, "dim": DIM, "dtype": _DTYPE.value, "composer_only": False}
  options["loss"] = "batch_based_classification"
  batch = pixels_and_tokens(batch_size, _IMAGE_SIZE.value)
  if contender == "pytorch":
    from benchmarks import torch_step

    return torch_step.build(batch, **options)
  from benchmarks import jax_step

  if contender == "microbatches":
    options |= {"num_microbatches": batch_size // _MICROBATCH.value, "loss_block_rows": _BLOCK_ROWS.value}
  return jax_step.build(batch, **options)


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
  step = build(contender, batch_size)
  step.seconds_per_call(1)
  speed = 2 * batch_size / step.seconds_per_call(_NUM_STEPS.value)
  memory = peak_memory(contender, step.device)
  return {"images_per_second": speed, "peak_gb": memory, "device": step.device, "failed": ""}


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
  contenders = [name for name in _CONTENDERS.value if name != "pytorch" or importlib.util.find_spec("torch")]
  rows = [{"batch": size, "contender": name, **run_alone(name, size)} for size in batch_sizes for name in contenders]
  report(f"ComposeAE, {_IMAGE_SIZE.value} pixels, {_DTYPE.value}, {_MICROBATCH.value} at a time", rows, _OUTPUT.value)


if __name__ == "__main__":
  app.run(main)
