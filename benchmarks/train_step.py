"""The ComposeAE train step (ResNet-18, LSTM; forward, backward, SGD) against the same in PyTorch.

python -m benchmarks.train_step --image_size=224 --batch_size=32 --output=train_step.json

Each contender has a process of its own, one after the other, and the same random batch. On a GPU there is also a
program that does all steps of a round in one call. The time of a step is the median over rounds of --num_steps steps.
"""

from collections.abc import Callable, Mapping
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

from absl import app, flags
import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
DIM = 512
VOCABULARY_SIZE = 1_000
TEXT_LENGTH = 8
NUM_ROUNDS = 5
CONTENDERS = ("torch", "jax", "jax_loop")


def random_batch() -> dict[str, np.ndarray]:
  """Pixels and tokens, or features, for one step."""
  rng = np.random.default_rng(0)
  batch = flags.FLAGS.batch_size
  if flags.FLAGS.composer_only:
    return {name: rng.normal(size=(batch, DIM)).astype(np.float32) for name in ("reference", "target", "text")}
  shape = (batch, flags.FLAGS.image_size, flags.FLAGS.image_size, 3)
  images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in ("reference", "target")}
  return images | {"text": rng.integers(0, VOCABULARY_SIZE, (batch, TEXT_LENGTH), dtype=np.int32)}


def time_rounds(call: Callable[[], None], wait: Callable[[], None], calls_per_round: int) -> list[float]:
  """Seconds of each round, after one that does not count."""
  seconds = []
  for _ in range(1 + NUM_ROUNDS):
    start = time.perf_counter()
    for _ in range(calls_per_round):
      call()
    wait()
    seconds.append(time.perf_counter() - start)
  return seconds[1:]


def time_contender(contender: str) -> dict[str, Any]:
  """Median seconds a step, parameters and device of one contender."""
  options = {"vocabulary_size": VOCABULARY_SIZE, "dim": DIM, "loss": flags.FLAGS.loss}
  options |= {"dtype": flags.FLAGS.dtype, "composer_only": flags.FLAGS.composer_only}
  steps_per_call = flags.FLAGS.num_steps if contender == "jax_loop" else 1
  if contender == "torch":
    from benchmarks import torch_step

    built = torch_step.build(random_batch(), **options)
  else:
    from benchmarks import jax_step

    built = jax_step.build(random_batch(), **options, steps_per_call=steps_per_call)
  call, wait, num_parameters, device = built
  rounds = time_rounds(call, wait, flags.FLAGS.num_steps // steps_per_call)
  seconds = statistics.median(rounds) / flags.FLAGS.num_steps
  return {"seconds_per_step": seconds, "num_parameters": num_parameters, "device": device}


def run_alone(contender: str) -> dict[str, Any]:
  """`time_contender` in a process of its own; raises CalledProcessError when that fails."""
  command = [sys.executable, "-m", "benchmarks.train_step", *sys.argv[1:], f"--contender={contender}"]
  done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
  """One line a contender."""
  lines = [
    "| contender | device | ms a step | images a second | speed against PyTorch |",
    "| --- | --- | --- | --- | --- |",
  ]
  for name, result in results.items():
    seconds = result["seconds_per_step"]
    ratio = results["torch"]["seconds_per_step"] / seconds
    images = 2 * flags.FLAGS.batch_size / seconds
    lines.append(f"| {name} | {result['device']} | {1e3 * seconds:.2f} | {images:,.0f} | {ratio:.2f} |")
  return "\n".join(lines)


def compare() -> dict[str, Any]:
  """Times every contender; raises ValueError when the models are not of one size."""
  results = {contender: run_alone(contender) for contender in ("torch", "jax")}
  if results["jax"]["device"] != "cpu":
    results["jax_loop"] = run_alone("jax_loop")
  counts = {name: result["num_parameters"] for name, result in results.items()}
  if len(set(counts.values())) > 1:
    raise ValueError(f"the models differ in their number of parameters: {counts}")
  return results


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
  flags.DEFINE_integer("batch_size", 32, "Triplets a step.", lower_bound=2)
  flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "What convolutions compute in.")
  flags.DEFINE_enum("loss", "soft_triplet", ["soft_triplet", "batch_based_classification"], "The main loss.")
  flags.DEFINE_integer("num_steps", 20, "Steps in each timed round.", lower_bound=1)
  flags.DEFINE_boolean("composer_only", False, "Composer, losses and SGD on random features.")
  flags.DEFINE_string("output", None, "JSON file to write.")
  flags.DEFINE_enum("contender", None, CONTENDERS, "Time only this one, in this process, and print JSON.")


def main(_) -> None:
  """Prints the table and writes --output; ends with status 1 where PyTorch is not installed."""
  if flags.FLAGS.contender:
    print(json.dumps(time_contender(flags.FLAGS.contender)))
    return
  if importlib.util.find_spec("torch") is None:
    sys.exit("error: PyTorch is not installed: pip install torch, or the extra 'bench'")
  results = compare()
  print(table(results))
  if flags.FLAGS.output:
    settings = {flag.name: flag.value for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])}
    pathlib.Path(flags.FLAGS.output).write_text(json.dumps({"settings": settings, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
  define_flags()
  app.run(main)
