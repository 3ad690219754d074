"""The train step of each composer (features given; forward, backward, SGD), beside ComposeAE's.

python -m benchmarks.composers --batch_size=32

All are compiled first and take turns in one process, so that what else the machine does falls on all alike. Printed are
the parameters, the median over rounds of a step's time as a multiple of ComposeAE's in the same round, and on other
devices than a CPU the milliseconds too.
"""

from collections.abc import Mapping, Sequence
import statistics

from absl import app, flags

from benchmarks import jax_step
from benchmarks.built_step import BuiltStep
from benchmarks.random_batch import DIM, features

COMPOSERS = ("compose_ae", "rotor", "tirg")
NUM_ROUNDS = 15


def build(composer: str, batch_size: int) -> BuiltStep:
  """The step of `composer` with its usual losses, on random features."""
  options = {"vocabulary_size": 0, "dim": DIM, "loss": "batch_based_classification", "dtype": "float32"}
  return jax_step.build(features(batch_size), **options, composer_only=True, composer=composer)


def compare(contenders: Mapping[str, BuiltStep], num_steps: int) -> dict[str, list[float]]:
  """Seconds a step of each contender in each round, after one that does not count."""
  rounds = [{name: own.seconds_per_call(num_steps) for name, own in contenders.items()} for _ in range(1 + NUM_ROUNDS)]
  return {name: [round_[name] for round_ in rounds[1:]] for name in contenders}


def table(contenders: Mapping[str, BuiltStep], seconds: Mapping[str, Sequence[float]]) -> str:
  """One line a composer."""
  lines = ["| composer | device | parameters | time against ComposeAE | ms |", "| --- | --- | --- | --- | --- |"]
  for name, own in contenders.items():
    ratio = statistics.median(mine / base for mine, base in zip(seconds[name], seconds["compose_ae"], strict=True))
    milliseconds = "" if own.device == "cpu" else f"{1e3 * statistics.median(seconds[name]):.2f}"
    lines.append(f"| {name} | {own.device} | {own.num_parameters:,} | {ratio:.2f} | {milliseconds} |")
  return "\n".join(lines)


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_integer("batch_size", 32, "Triplets a step.", lower_bound=2)
  flags.DEFINE_integer("num_steps", 20, "Steps in each timed round.", lower_bound=1)


def main(_) -> None:
  """Prints the table."""
  contenders = {name: build(name, flags.FLAGS.batch_size) for name in COMPOSERS}
  print(table(contenders, compare(contenders, flags.FLAGS.num_steps)))


if __name__ == "__main__":
  define_flags()
  app.run(main)
