"""What is to be measured on a GPU, by one command that ends within --minutes, ten unless it is told otherwise.

python -m benchmarks.gpu --folder=gpu_results

ComposeAE, ResNet-18, 224 pixels, batch 256, bfloat16: against PyTorch compiled and the device's peak; a profile; with
images on the device and streamed; batch 32,768 in microbatches. The parts are the other scripts here, one after the
other; a part that fails, or that the time does not suffice for, is reported and the rest goes on. --folder gets each
part's output, its figures as JSON, the trace, and the table that is printed last, summary.md.
"""

from collections.abc import Iterator, Mapping
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from absl import app, flags

WANTED = {"ours against PyTorch": 1.2, "images on the device": 0.98, "streamed from the store": 0.95}


def parts(folder: pathlib.Path) -> dict[str, list[str]]:
  """Arguments of each script by its name, the most important first."""
  sizes = [f"--image_size={flags.FLAGS.image_size}", f"--dtype={flags.FLAGS.dtype}"]
  batch = f"--batch_size={flags.FLAGS.batch_size}"
  large = [f"--batch_sizes={flags.FLAGS.large_batch_size}", f"--microbatch={flags.FLAGS.batch_size}"]
  images = f"--num_images={flags.FLAGS.num_images}"
  return {
    "train_step": [*sizes, batch, "--num_steps=10"],
    "step_profile": [*sizes, batch, f"--trace={folder / 'trace'}"],
    "placement": [*sizes, batch, images, "--num_steps=10", "--num_rounds=5"],
    "large_batch": [*sizes, *large, "--contenders=microbatches"],
  }


def run_part(name: str, arguments: list[str], folder: pathlib.Path, seconds: float) -> str:
  """Runs a script, its output to the terminal and to a file; returns what went wrong, or nothing."""
  environment = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), **os.environ}
  command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, f"--output={folder / name}.json"]
  with (folder / f"{name}.txt").open("wb") as log:
    # A group of its own, to end the processes that it starts with it.
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
      status = process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
      return "the time was up"
    finally:
      if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
  print((folder / f"{name}.txt").read_text(errors="replace"), flush=True)
  return f"ended with status {status}" if status else ""


def rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
  """Each figure with what was wanted of it, from the parts' JSON files."""
  if step := results.get("train_step"):
    yield from _step_rows(step["results"], 2 * step["settings"]["batch_size"])
  if profile := results.get("step_profile"):
    shares = ", ".join(f"{row['phase']} {row['kind']} {row['share']:.0%}" for row in profile["by_kind"][:5])
    yield "where a step's time goes", f"operations {profile['busy']:.0%} of the time; {shares}", ""
  for row in results.get("placement", {}).get("rows", ()):
    found = f"{row['images_per_second']:,.0f} images a second, {row['share']:.3f} of the first"
    yield row["images"], found, _verdict(row["images"], row["share"])
  for row in results.get("large_batch", {}).get("rows", ()):
    found = row["failed"] or f"{row['images_per_second']:,.0f} images a second, {row['peak_gb']:.1f} GB at the peak"
    yield f"batch {row['batch']} in microbatches", found, "failed" if row["failed"] else ""


def _step_rows(steps: Mapping[str, Any], images: int) -> Iterator[tuple[str, str, str]]:
  ours = steps["jax"]
  best = min(result["seconds_per_step"] for name, result in steps.items() if name != "torch")
  ratio = steps["torch"]["seconds_per_step"] / best
  for name, result in steps.items():
    yield f"{name}: one batch", f"{images / result['seconds_per_step']:,.0f} images a second", ""
  yield "ours against PyTorch", f"{ratio:.2f}", _verdict("ours against PyTorch", ratio)
  if ours["peak_flops"]:
    share = ours["flops_per_step"] / ours["seconds_per_step"] / ours["peak_flops"]
    yield "share of the device's peak", f"{share:.1%}", ""


def _verdict(name: str, found: float) -> str:
  if name not in WANTED:
    return ""
  return f"{'met' if found >= WANTED[name] else 'missed'}: at least {WANTED[name]}"


def summary(folder: pathlib.Path, failures: Mapping[str, str]) -> str:
  """The table of all figures in `folder`, and of the parts without."""
  files = {name: folder / f"{name}.json" for name in parts(folder) if name not in failures}
  table = [("what", "found", "wanted"), ("---",) * 3]
  table += rows({name: json.loads(file.read_text()) for name, file in files.items()})
  table += [(name, f"not measured: {why}, see {folder / name}.txt", "") for name, why in failures.items()]
  return "".join(f"| {' | '.join(row)} |\n" for row in table)


def device_kind() -> str:
  """Of the first device, asked in another process: this one must not hold the device's memory."""
  command = [sys.executable, "-c", "import jax; print(jax.devices()[0].device_kind)"]
  return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_string("folder", None, "Where all results go; must not exist yet.", required=True)
  flags.DEFINE_float("minutes", 10, "When to end.", lower_bound=0)
  flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
  flags.DEFINE_integer("batch_size", 256, "Triplets a step, and those encoded at a time.", lower_bound=2)
  flags.DEFINE_integer("large_batch_size", 32_768, "Triplets a step in microbatches.", lower_bound=2)
  flags.DEFINE_integer("num_images", 15_000, "Images that are placed.", lower_bound=1)
  flags.DEFINE_enum("dtype", "bfloat16", ["float32", "bfloat16"], "What convolutions compute in.")
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
  failures = {}
  for name, arguments in parts(folder).items():
    minutes = (end - time.monotonic()) / 60
    print(f"{name}: {minutes:.1f} minutes left, output so far in {folder / name}.txt", flush=True)
    if failure := run_part(name, arguments, folder, end - time.monotonic()):
      print(f"{name}: {failure}", flush=True)
      failures[name] = failure
  text = f"{device}\n\n{summary(folder, failures)}"
  (folder / "summary.md").write_text(text)
  print(text, end="")
  sys.exit(bool(failures))


if __name__ == "__main__":
  define_flags()
  app.run(main)
