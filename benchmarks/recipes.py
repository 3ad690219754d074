"""Many trainings on one device: corpora x composers x recipes x seeds, by threads that share it.

python -m benchmarks.recipes --flagfile=benchmarks/siblings.flags --output=recipes.jsonl --num_threads=12

Runs that differ in their seed or in `data.siblings_per_batch` alone are one program: a thread compiles it once, and
trains them one after the other. Other threads compile and fill the device meanwhile; they are threads of one process,
as a GPU serves processes by turns, which costs more than it gains. Each run is what launch.py trains, without
checkpoints and reports, and is evaluated once, after its last step. As it ends, it is a line of the output: title,
arguments, seed, seconds, and the metrics as fractions. Runs that the output has are not trained again.
"""

from collections.abc import Sequence
import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

from absl import app, flags

from benchmarks.one_program import Trained
from benchmarks.runs import parse_run, Run

NOT_OF_THE_PROGRAM = "--config.data.siblings_per_batch="


@dataclasses.dataclass(frozen=True)
class Program:
  """Runs whose steps are one program."""

  runs: Sequence[Run]

  def train(self, output: str, deadline: float) -> None:
    """Trains each run with each of its seeds, before the deadline, and adds their lines to `output`."""
    trained = Trained(self.runs[0].arguments, pathlib.Path(tempfile.mkdtemp()))
    for run in self.runs:
      for seed in run.seeds:
        if time.time() > deadline:
          return
        start = time.time()
        metrics = trained.metrics(run.arguments, seed)
        line = {"title": run.title, "arguments": run.arguments, "seed": seed, "seconds": time.time() - start, **metrics}
        with open(output, "a") as file:
          file.write(json.dumps(line) + "\n")
        print(f"{run.title} {seed}: R@1 {metrics['R@1']:.3f}, {time.time() - start:.0f} s", flush=True)


def programs(runs: Sequence[Run], done: set[tuple[str, int]]) -> list[Program]:
  """The runs in groups of one program, without the seeds of titles that are `done`; those with most work first."""
  found: dict[tuple[str, ...], list[Run]] = {}
  for run in runs:
    seeds = tuple(seed for seed in run.seeds if (run.title, seed) not in done)
    if seeds:
      key = tuple(argument for argument in run.arguments if not argument.startswith(NOT_OF_THE_PROGRAM))
      found.setdefault(key, []).append(dataclasses.replace(run, seeds=seeds))
  return sorted(map(Program, found.values()), key=lambda program: -sum(len(run.seeds) for run in program.runs))


def main(_) -> None:
  """Trains what is missing; ends with status 1 when a program failed."""
  output = pathlib.Path(flags.FLAGS.output)
  lines = map(json.loads, output.read_text().splitlines() if output.exists() else ())
  done = {(line["title"], line["seed"]) for line in lines}
  runs = [parse_run(text, flags.FLAGS.seeds) for text in flags.FLAGS.run]
  runs = [dataclasses.replace(run, arguments=(*run.arguments, *flags.FLAGS.also)) for run in runs]
  deadline = time.time() + 60 * flags.FLAGS.minutes
  failed = 0
  with concurrent.futures.ThreadPoolExecutor(flags.FLAGS.num_threads) as pool:
    trainings = [pool.submit(program.train, str(output), deadline) for program in programs(runs, done)]
    for training in concurrent.futures.as_completed(trainings):
      if error := training.exception():
        failed += 1
        print(f"a program failed: {error!r}", file=sys.stderr, flush=True)
  if failed:
    sys.exit(1)


def define_flags() -> None:
  """Defines the flags only where this is the program: another benchmark may have flags of the same names."""
  flags.DEFINE_multi_string("run", None, "TITLE | CONFIG [OVERRIDES] [| SEEDS], once for each recipe.")
  flags.DEFINE_list("seeds", ["0"], "Seeds of the runs that do not name their own.")
  flags.DEFINE_string("output", None, "File of JSON lines to add to.")
  flags.DEFINE_integer("num_threads", 1, "Programs that are trained side by side.", lower_bound=1)
  flags.DEFINE_multi_string("also", [], "A field of every run's configuration: --config.NAME=VALUE.")
  flags.DEFINE_float("minutes", 60.0, "After these no run starts.", lower_bound=0)


if __name__ == "__main__":
  define_flags()
  flags.mark_flags_as_required(["run", "output"])
  app.run(main)
