"""All GPU benchmarks, by one command that ends within --minutes (default: ten).

python -m benchmarks.gpu --folder=gpu_results

The most important first, all in bfloat16: ComposeAE with ResNet-18 at 224 pixels and batch 256, fine-tuning CLIP's
ViT-B/32, and the Combiner at batch 4,096, each against PyTorch compiled; images on the device and streamed; batch
32,768 in microbatches; a profile of the first. Before them our steps run at a tiny size, both at once: that shows what
cannot run here, and brings libraries into memory. The parts are the other scripts here, one after the other;
a part that fails, or that the time does not suffice for, is reported and the rest goes on. --folder gets each part's
output, its figures as JSON, all of them as results.json, the trace, and the table that is printed last, summary.md.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from absl import app, flags

WANTED = {
  "ResNet-18, ours against PyTorch": 1.15,
  "towers, ours against PyTorch": 1.1,
  "images on the device": 0.98,
  "streamed from the store": 0.95,
}


@dataclasses.dataclass(frozen=True)
class Part:
  """A script of this folder with its arguments, ended after `seconds`; it writes the JSON file --output."""

  name: str
  script: str
  arguments: tuple[str, ...]
  seconds: float

  def start(self, folder: pathlib.Path, log: Any) -> subprocess.Popen:
    """The script in a process group of its own, to end the processes that it starts with it."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-m", f"benchmarks.{self.script}", *self.arguments]
    command.append(f"--output={folder / self.name}.json")
    return subprocess.Popen(command, stdout=log, stderr=log, env={**cache, **os.environ}, start_new_session=True)

  def run(self, folder: pathlib.Path, seconds: float) -> str:
    """Its output goes to the terminal and to a file; returns what went wrong, or nothing."""
    with (folder / f"{self.name}.txt").open("wb") as log:
      process = self.start(folder, log)
      failure = ended(process, min(seconds, self.seconds))
    lines = (folder / f"{self.name}.txt").read_text(errors="replace").splitlines()
    print("\n".join(lines[-40:]), flush=True)
    return failure


def ended(process: subprocess.Popen, seconds: float) -> str:
  """Waits for the process, and ends its group when the time is up; returns what went wrong, or nothing."""
  try:
    status = process.wait(max(seconds, 0))
  except subprocess.TimeoutExpired:
    return "the time was up"
  finally:
    if process.poll() is None:
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
  return f"ended with status {status}" if status else ""


# A pass at tiny sizes: it takes what loading libraries and starting compilers takes.
TINY = {
  "resnet": ("--image_size=32", "--batch_size=4"),
  "towers": ("--tower=tiny", "--batch_size=4"),
}


def pairs() -> dict[str, tuple[str, ...]]:
  """Arguments of train_step for what is timed against PyTorch."""
  size, batch = f"--image_size={flags.FLAGS.image_size}", f"--batch_size={flags.FLAGS.batch_size}"
  composer = ("--composer_only", "--composer=combiner", "--optimizer=adamw", "--loss=info_nce", "--dim=640")
  return {
    "resnet": (size, batch, "--loss=batch_based_classification", "--num_steps=10"),
    "towers": (f"--tower={flags.FLAGS.tower}", f"--batch_size={flags.FLAGS.tower_batch_size}", "--num_steps=10"),
    "combiner": (*composer, f"--batch_size={flags.FLAGS.combiner_batch_size}", "--num_steps=30"),
  }


def parts(folder: pathlib.Path) -> list[Part]:
  """The most important first."""
  dtype = f"--dtype={flags.FLAGS.dtype}"
  found = []
  for name, arguments in pairs().items():
    for contender in ("jax", "torch"):
      options = (*arguments, dtype, f"--contender={contender}", "--num_rounds=5")
      found.append(Part(f"{name}_{contender}", "train_step", options, seconds=150))
  sizes, batch = (f"--image_size={flags.FLAGS.image_size}", dtype), f"--batch_size={flags.FLAGS.batch_size}"
  images = (f"--num_images={flags.FLAGS.num_images}", "--num_steps=10", "--num_rounds=5")
  large = (f"--batch_sizes={flags.FLAGS.large_batch_size}", f"--microbatch={flags.FLAGS.batch_size}")
  traced = ("--loss=batch_based_classification", f"--trace={folder / 'trace'}")
  return [
    *found,
    Part("placement", "placement", (*sizes, batch, *images), seconds=150),
    Part("large_batch", "large_batch", (*sizes, *large, "--contenders=microbatches", "--num_steps=1"), seconds=150),
    Part("step_profile", "step_profile", (*sizes, batch, *traced), seconds=150),
  ]


def warm_up(folder: pathlib.Path, seconds: float) -> dict[str, str]:
  """Runs our steps at a tiny size, at once; returns what went wrong with each that failed."""
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # they share the device's memory
  tiny = ("--num_steps=1", "--num_rounds=1", f"--dtype={flags.FLAGS.dtype}")
  started, end = {}, time.monotonic() + min(seconds, 120)
  for name, arguments in TINY.items():
    part = Part(f"tiny_{name}", "train_step", (*arguments, *tiny, "--contender=jax"), seconds=120)
    started[part.name] = part.start(folder, (folder / f"{part.name}.txt").open("wb"))
  failures = {name: ended(process, end - time.monotonic()) for name, process in started.items()}
  del os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]
  return {name: failure for name, failure in failures.items() if failure}


def rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
  """Each figure with what was wanted of it, from the parts' JSON files by their names."""
  for title, pair in (("ResNet-18", "resnet"), ("towers", "towers"), ("Combiner", "combiner")):
    yield from _pair_rows(title, {name: results.get(f"{pair}_{name}") for name in ("jax", "torch")})
  for row in results.get("placement", {}).get("rows", ()):
    found = f"{row['images_per_second']:,.0f} images a second, {row['share']:.3f} of the first"
    yield row["images"], found, _verdict(row["images"], row["share"])
  for row in results.get("large_batch", {}).get("rows", ()):
    found = row["failed"] or f"{row['images_per_second']:,.0f} images a second, {row['peak_gb']:.1f} GB at the peak"
    yield f"batch {row['batch']} in microbatches", found, "failed" if row["failed"] else ""
  if profile := results.get("step_profile"):
    yield "operations' share of a step", f"{profile['busy']:.0%}", ""
    for row in profile["by_kind"][:12]:
      speed = f"{row['gb_a_step']:.2f} GB at {row['tb_per_second']:.2f} TB/s" if row["gb_a_step"] else "bytes not known"
      found = f"{row['ms_a_step']:.2f} ms, {row['runs_a_step']:.0f} runs, {speed}"
      yield f"{row['phase']} {row['kind']}", found, ""


def _pair_rows(title: str, steps: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
  for name, result in steps.items():
    if result:
      peak = result.get("peak_flops")
      share = f", {result['flops_per_step'] / result['seconds_per_step'] / peak:.1%} of the peak" if peak else ""
      yield f"{title}, {name}", f"{1e3 * result['seconds_per_step']:.2f} ms a step{share}", ""
  if all(steps.values()):
    ratio = steps["torch"]["seconds_per_step"] / steps["jax"]["seconds_per_step"]
    yield f"{title}, ours against PyTorch", f"{ratio:.2f}", _verdict(f"{title}, ours against PyTorch", ratio)


def _verdict(name: str, found: float) -> str:
  if name not in WANTED:
    return ""
  return f"{'met' if found >= WANTED[name] else 'missed'}: at least {WANTED[name]}"


def write_summary(folder: pathlib.Path, device: str, names: Sequence[str], failures: Mapping[str, str]) -> str:
  """The table of all figures in `folder` so far, and of the parts without; summary.md and results.json hold it."""
  results = {name: json.loads((folder / f"{name}.json").read_text()) for name in names if name not in failures}
  table = [("what", "found", "wanted"), ("---",) * 3, *rows(results)]
  table += [(name, f"not measured: {why}, see {folder / name}.txt", "") for name, why in failures.items()]
  text = f"{device}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in table)
  (folder / "summary.md").write_text(text)
  figures = {"device": device, "results": results, "failures": failures}
  (folder / "results.json").write_text(json.dumps(figures, indent=2) + "\n")
  return text


def device_kind() -> str:
  """Facts of the first device, from another process: this one must not hold the device's memory."""
  command = [sys.executable, "-c", "import jax; print(jax.devices()[0].device_kind)"]
  return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("folder", None, "Where all results go; must not exist yet.", required=True)
  flags.DEFINE_float("minutes", 10, "When to end.", lower_bound=0)
  flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
  flags.DEFINE_integer("batch_size", 256, "Triplets a step, and those encoded at a time.", lower_bound=2)
  flags.DEFINE_string("tower", "vit_b32", "Which of train_step's towers are fine-tuned.")
  flags.DEFINE_integer("tower_batch_size", 128, "Triplets a step of fine-tuning.", lower_bound=2)
  flags.DEFINE_integer("combiner_batch_size", 4_096, "Triplets a step of the Combiner.", lower_bound=2)
  flags.DEFINE_integer("large_batch_size", 32_768, "Triplets a step in microbatches.", lower_bound=2)
  flags.DEFINE_integer("num_images", 15_000, "Images that are placed.", lower_bound=1)
  flags.DEFINE_enum("dtype", "bfloat16", ["float32", "bfloat16"], "What convolutions and products compute in.")
  flags.DEFINE_boolean("allow_cpu", False, "Runs without a GPU, to try the script: give small sizes.")


def main(_) -> None:
  """Measures, and prints the summary; ends with status 1 where a part failed."""
  end = time.monotonic() + 60 * flags.FLAGS.minutes
  folder = pathlib.Path(flags.FLAGS.folder)
  device = device_kind()
  if device == "cpu" and not flags.FLAGS.allow_cpu:
    sys.exit("error: JAX finds no GPU here, only the CPU; --allow_cpu runs on it all the same")
  if folder.exists():
    sys.exit(f"error: --folder={folder} exists, expected a new one")
  folder.mkdir(parents=True)
  failures, done = warm_up(folder, end - time.monotonic()), []
  print(f"tiny sizes: {failures or 'all ran'}", flush=True)
  for part in parts(folder):
    left = end - time.monotonic()
    print(f"{part.name}: {left:.0f} seconds left, output so far in {folder / part.name}.txt", flush=True)
    done.append(part.name)
    if failure := part.run(folder, left):
      print(f"{part.name}: {failure}", flush=True)
      failures[part.name] = failure
    text = write_summary(folder, device, done, failures)
  print(text, end="")
  sys.exit(bool(failures))


if __name__ == "__main__":
  define_flags()
  app.run(main)
