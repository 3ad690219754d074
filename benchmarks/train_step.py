"""The ComposeAE train step (ResNet-18, LSTM; forward, backward, SGD) against the same in PyTorch.

python -m benchmarks.train_step --image_size=224 --batch_size=32 --output=train_step.json
python -m benchmarks.train_step --tower=vit_b32 --batch_size=128 --dtype=bfloat16    # fine-tunes CLIP's towers instead

Each contender has a process of its own, one after the other, and the same random batch. On a GPU there is also a
program that does all steps of a round in one call. The time of a step is the median over rounds of --num_steps steps.
The share of the device's peak is of the operations that XLA counts in our step, for PyTorch's too.
"""

from collections.abc import Mapping
import importlib.util
import json
import pathlib
import statistics
import sys
from typing import Any

from absl import app, flags

from benchmarks.built_step import BuiltStep
from benchmarks.clip_towers import batch_for, TOWERS
from benchmarks.contenders import run_alone
from benchmarks.random_batch import DIM, features, pixels_and_tokens, VOCABULARY_SIZE

CONTENDERS = ("torch", "jax", "jax_loop")


def build(contender: str, steps_per_call: int) -> BuiltStep:
  """A contender's step by the flags."""
  if flags.FLAGS.tower:
    return build_towers(contender, steps_per_call)
  options = {"vocabulary_size": VOCABULARY_SIZE, "dim": flags.FLAGS.dim, "loss": flags.FLAGS.loss}
  options |= {"dtype": flags.FLAGS.dtype, "composer_only": flags.FLAGS.composer_only}
  options |= {"composer": flags.FLAGS.composer, "optimizer": flags.FLAGS.optimizer}
  size = flags.FLAGS.batch_size
  if flags.FLAGS.composer_only:
    batch = features(size, flags.FLAGS.dim)
  else:
    batch = pixels_and_tokens(size, flags.FLAGS.image_size)
  if contender == "torch":
    from benchmarks import torch_step

    return torch_step.build(batch, **options)
  from benchmarks import jax_step

  return jax_step.build(batch, **options, steps_per_call=steps_per_call)


def build_towers(contender: str, steps_per_call: int) -> BuiltStep:
  """CLIP4Cir's first stage by the flags, against transformers' models of the same sizes."""
  towers, dtype = TOWERS[flags.FLAGS.tower], flags.FLAGS.dtype
  batch = batch_for(towers, flags.FLAGS.batch_size)
  if contender == "torch":
    from benchmarks import torch_towers

    return torch_towers.build(batch, towers, dtype)
  from benchmarks import jax_step

  pieces = {"steps_per_call": steps_per_call, "num_microbatches": flags.FLAGS.num_microbatches}
  return jax_step.build_towers(batch, towers, dtype, **pieces)


def time_contender(contender: str) -> dict[str, Any]:
  """Median seconds a step, parameters and device of one contender; ours tells the operations and the peak too."""
  steps_per_call = flags.FLAGS.num_steps if contender == "jax_loop" else 1
  built = build(contender, steps_per_call)
  rounds = [built.seconds_per_call(flags.FLAGS.num_steps // steps_per_call) for _ in range(1 + flags.FLAGS.num_rounds)]
  seconds = statistics.median(rounds[1:]) / steps_per_call
  result = {"seconds_per_step": seconds, "num_parameters": built.num_parameters, "device": built.device}
  if contender == "jax":
    from composeret_jax.training.profiling import peak_flops

    result |= {"flops_per_step": built.flops(), "peak_flops": peak_flops(flags.FLAGS.dtype, per_device=0)}
  return result


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
  """One line a contender."""
  lines = [
    "| contender | device | ms a step | images a second | speed against PyTorch | share of peak |",
    "| --- | --- | --- | --- | --- | --- |",
  ]
  flops, peak = results["jax"]["flops_per_step"], results["jax"]["peak_flops"]
  for name, result in results.items():
    seconds = result["seconds_per_step"]
    ratio = results["torch"]["seconds_per_step"] / seconds
    images = 2 * flags.FLAGS.batch_size / seconds
    share = f"{flops / seconds / peak:.1%}" if peak else "peak not known"
    lines.append(f"| {name} | {result['device']} | {1e3 * seconds:.2f} | {images:,.0f} | {ratio:.2f} | {share} |")
  return "\n".join(lines)


def compare() -> dict[str, Any]:
  """Times every contender; raises ValueError when the models are not of one size."""
  results = {name: run_alone([*sys.argv[1:], f"--contender={name}", "--output="]) for name in ("torch", "jax")}
  if results["jax"]["device"] != "cpu":
    results["jax_loop"] = run_alone([*sys.argv[1:], "--contender=jax_loop", "--output="])
  counts = {name: result["num_parameters"] for name, result in results.items()}
  if len(set(counts.values())) > 1:
    raise ValueError(f"the models differ in their number of parameters: {counts}")
  return results


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
  flags.DEFINE_integer("batch_size", 32, "Triplets a step.", lower_bound=2)
  flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "What convolutions and products compute in.")
  losses = ["soft_triplet", "batch_based_classification", "info_nce"]
  flags.DEFINE_enum("loss", "soft_triplet", losses, "The main loss.")
  flags.DEFINE_enum("composer", "compose_ae", ["compose_ae", "combiner"], "The Combiner with --composer_only alone.")
  flags.DEFINE_enum("optimizer", "sgd", ["sgd", "adamw"], "What moves the parameters.")
  flags.DEFINE_integer("dim", DIM, "Width of the features.", lower_bound=1)
  flags.DEFINE_integer("num_steps", 20, "Steps in each timed round.", lower_bound=1)
  flags.DEFINE_boolean("composer_only", False, "Composer, losses and SGD on random features.")
  flags.DEFINE_enum("tower", None, list(TOWERS), "Fine-tunes CLIP's towers of this size, by AdamW.")
  flags.DEFINE_integer("num_microbatches", 1, "Pieces in which our step encodes a batch with --tower.", lower_bound=1)
  flags.DEFINE_integer("num_rounds", 5, "Timed rounds.", lower_bound=1)
  flags.DEFINE_string("output", None, "JSON file to write.")
  flags.DEFINE_enum("contender", None, CONTENDERS, "Time only this one, in this process, and print JSON.")


def main(_) -> None:
  """Prints the table and writes --output; ends with status 1 where PyTorch is not installed."""
  if flags.FLAGS.contender:
    result = time_contender(flags.FLAGS.contender)
    print(json.dumps(result))
    if flags.FLAGS.output:
      pathlib.Path(flags.FLAGS.output).write_text(json.dumps(result) + "\n")
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
