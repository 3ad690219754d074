"""The train step of each composer (features given; forward, backward, SGD), beside ComposeAE's.

python -m benchmarks.composers --batch_size=32

All are compiled first and take turns in one process, so that what else the machine does falls on all alike. Printed are
the parameters, the median over rounds of a step's time as a multiple of ComposeAE's in the same round, and on other
devices than a CPU the milliseconds too.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import statistics
import time

from absl import app, flags
import numpy as np

from benchmarks import jax_step

COMPOSERS = ("compose_ae", "rotor", "tirg")
DIM = 512
NUM_ROUNDS = 15


@dataclasses.dataclass(frozen=True)
class Contender:
  """A compiled train step."""

  call: Callable[[], None]
  wait: Callable[[], None]
  num_parameters: int
  device: str

  def seconds_per_step(self, num_steps: int) -> float:
    """The mean over `num_steps` steps."""
    start = time.perf_counter()
    for _ in range(num_steps):
      self.call()
    self.wait()
    return (time.perf_counter() - start) / num_steps


def build(composer: str, batch_size: int) -> Contender:
  """The step of `composer` with its usual losses, on random features."""
  rng = np.random.default_rng(0)
  batch = {name: rng.normal(size=(batch_size, DIM)).astype(np.float32) for name in ("reference", "target", "text")}
  options = {"vocabulary_size": 0, "dim": DIM, "loss": "batch_based_classification", "dtype": "float32"}
  return Contender(*jax_step.build(batch, **options, composer_only=True, composer=composer))


def compare(contenders: Mapping[str, Contender], num_steps: int) -> dict[str, list[float]]:
  """Seconds a step of each contender in each round, after one that does not count."""
  rounds = [{name: own.seconds_per_step(num_steps) for name, own in contenders.items()} for _ in range(1 + NUM_ROUNDS)]
  return {name: [round_[name] for round_ in rounds[1:]] for name in contenders}


def table(contenders: Mapping[str, Contender], seconds: Mapping[str, Sequence[float]]) -> str:
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
