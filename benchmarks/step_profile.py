"""The time that parts of our ComposeAE step take on the device: a profiler trace of some steps, as tables.

python -m benchmarks.step_profile --batch_size=256 --dtype=bfloat16 --trace=profile    # on a GPU
python -m benchmarks.step_profile --batch_size=8 --image_size=64 --trace=profile    # on a CPU

The first table has the operations by phase and kind, with the bytes that they read and write and how fast; the second
those that take longest, with what they compute and the place in the program that they come from. A fusion has the place
of its last operation. TensorBoard's profile page opens the same trace.
"""

from collections.abc import Iterator
import dataclasses
import json
import pathlib
import re
import sys

from absl import app, flags
import jax
from jax.profiler import ProfileData

from benchmarks import jax_step
from benchmarks.contenders import report
from benchmarks.hlo_traffic import traffic
from benchmarks.random_batch import DIM, pixels_and_tokens, VOCABULARY_SIZE

CONTAINERS = ("call", "conditional", "while")  # on a CPU their operations have events of their own


@dataclasses.dataclass(frozen=True)
class Source:
  """An operation of a compiled program: its kind, and the place in the traced program that it comes from."""

  result: str = ""
  place: str = ""

  @property
  def phase(self) -> str:
    """A step's kind of operation, with gradients."""
    if "transpose(" in self.place:
      return "backward"
    return "forward" if "jvp(" in self.place else "other"


def _key(name: str) -> str:
  """An operation's name as a kernel can have it, which is without points and dashes."""
  return re.sub(r"\W", "_", name)


def sources(hlo_text: str) -> dict[str, Source]:
  """By the operations' keys in the text of a compiled program."""
  operation = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) [\w-]+\(")
  found = {}
  for line in hlo_text.splitlines():
    if match := operation.match(line):
      place = re.search(r'op_name="([^"]*)"', line)
      found[_key(match[1])] = Source(re.sub(r"\{[^}]*\}", "", match[2]), place[1] if place else "")
  return found


def operation_times(trace: pathlib.Path) -> dict[str, list[float]]:
  """Seconds of each run of each operation on the first device, from the only trace in the folder.

  Raises ValueError where the trace has none.
  """
  [file] = trace.rglob("*.xplane.pb")
  times = {}
  for name, seconds in _events(ProfileData.from_file(str(file))):
    times.setdefault(name, []).append(seconds)
  if not times:
    raise ValueError(f"{file}: no operation of a device is in this trace")
  return times


def _events(profile: ProfileData) -> Iterator[tuple[str, float]]:
  """A GPU's kernels are on a line for each stream, a TPU's on one, a CPU's among all that its threads do."""
  planes = {plane.name: plane for plane in profile.planes}
  device = next((planes[name] for name in sorted(planes) if re.fullmatch(r"/device:\w+:0", name)), None)
  for line in (device or planes["/host:CPU"]).lines:
    if device and not line.name.startswith(("Stream", "XLA Ops")):
      continue  # summaries of the same
    for event in line.events:
      name = dict(event.stats).get("hlo_op", event.name if device else None)
      if name and not name.startswith(CONTAINERS):
        yield name, event.duration_ns / 1e9


def by_kind(
  times: dict[str, list[float]], places: dict[str, Source], moved: dict[str, int], num_steps: int
) -> list[dict]:
  """A row for each phase and kind, a kind being a name without its number; the longest first.

  `moved` has the bytes of each operation, by its key; operations that it does not have are not counted.
  """
  groups, known = {}, {}
  for name, seconds in times.items():
    key = places.get(_key(name), Source()).phase, re.sub(r"[._]?\d+$", "", name)
    groups.setdefault(key, []).extend(seconds)
    known[key] = known.get(key, 0) + moved.get(_key(name), 0) * len(seconds)
  total = sum(map(sum, times.values()))
  rows = [
    {"phase": phase, "kind": kind, "share": sum(seconds) / total, "ms_a_step": 1e3 * sum(seconds) / num_steps}
    | {"runs_a_step": len(seconds) / num_steps, "gb_a_step": known[phase, kind] / num_steps / 1e9}
    | {"tb_per_second": known[phase, kind] / sum(seconds) / 1e12}
    for (phase, kind), seconds in groups.items()
  ]
  return sorted(rows, key=lambda row: -row["share"])


def longest(times: dict[str, list[float]], places: dict[str, Source], num_steps: int) -> list[dict]:
  """A row for each operation, the longest first."""
  total = sum(map(sum, times.values()))
  rows = []
  for name, seconds in times.items():
    source = places.get(_key(name), Source())
    row = {"operation": name, "share": sum(seconds) / total, "ms_a_step": 1e3 * sum(seconds) / num_steps}
    rows.append(row | {"result": source.result, "place": source.place})
  return sorted(rows, key=lambda row: -row["share"])


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_integer("image_size", 224, "Pixels, square.", lower_bound=1)
  flags.DEFINE_integer("batch_size", 32, "Triplets a step.", lower_bound=2)
  flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "What convolutions compute in.")
  flags.DEFINE_enum("loss", "soft_triplet", ["soft_triplet", "batch_based_classification"], "The main loss.")
  flags.DEFINE_integer("num_steps", 5, "Steps in the trace.", lower_bound=1)
  flags.DEFINE_integer("num_rows", 25, "Rows of each table.", lower_bound=1)
  flags.DEFINE_string("trace", None, "Folder for the trace, which must not have one yet.", required=True)
  flags.DEFINE_string("output", None, "JSON file to write, with every row.")


def main(_) -> None:
  """Traces, and prints the tables."""
  trace, num_steps = pathlib.Path(flags.FLAGS.trace), flags.FLAGS.num_steps
  if any(trace.rglob("*.xplane.pb")):
    sys.exit(f"error: --trace={trace} has a trace already")
  step = jax_step.build(
    pixels_and_tokens(flags.FLAGS.batch_size, flags.FLAGS.image_size),
    vocabulary_size=VOCABULARY_SIZE,
    dim=DIM,
    loss=flags.FLAGS.loss,
    dtype=flags.FLAGS.dtype,
    composer_only=False,
  )
  step.seconds_per_call(2)
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  with jax.profiler.trace(str(trace), profiler_options=options):
    seconds = step.seconds_per_call(num_steps)
  text = step.hlo_text()
  times, places = operation_times(trace), sources(text)
  moved = {_key(name): num_bytes for name, num_bytes in traffic(text).items()}
  busy = sum(map(sum, times.values())) / num_steps / seconds
  print(f"{step.device}: {1e3 * seconds:.2f} ms a step while traced, operations take {busy:.0%} of them")
  tables = {"by_kind": by_kind(times, places, moved, num_steps), "longest": longest(times, places, num_steps)}
  for title, rows in tables.items():
    report(title, rows[: flags.FLAGS.num_rows], None)
  if flags.FLAGS.output:
    figures = {"device": step.device, "seconds_per_step": seconds, "busy": busy, **tables}
    pathlib.Path(flags.FLAGS.output).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
  define_flags()
  app.run(main)
