"""What one device does in a run of a compiled program: operations and collectives, those in loops as often as they run.

XLA's own analysis counts a loop's body once, however often it runs.
"""

import dataclasses
import functools
import math
import re

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# Instructions that only move numbers, and those that call computations, which are counted by themselves.
NO_ARITHMETIC = re.compile(
  "parameter|constant|iota|tuple|get-tuple-element|bitcast|bitcast-convert|copy|broadcast|reshape|transpose|slice|"
  "dynamic-slice|dynamic-update-slice|concatenate|pad|gather|reverse|convert|optimization-barrier|partition-id|"
  "replica-id|after-all|custom-call|fusion|while|call|conditional"
)
BITS = re.compile(r"[a-z]+(\d+)")
SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
HEAD = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)")
CALLED = re.compile(r"(?:calls|to_apply|body)=%?([\w.-]+)")
TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


@dataclasses.dataclass(frozen=True)
class Cost:
  """`flops` counts arithmetic on any numbers; `collective_bytes` are those of the collectives' results.

  `collectives_in_loops` counts the collectives of the program's text that are inside a loop.
  """

  flops: float = 0.0
  num_collectives: int = 0
  collective_bytes: int = 0
  collectives_in_loops: int = 0

  def __add__(self, other: "Cost") -> "Cost":
    """The cost of both."""
    return Cost(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

  def repeated(self, times: int) -> "Cost":
    """The cost of a loop that runs this `times` times."""
    in_loops = max(self.num_collectives, self.collectives_in_loops)
    return Cost(self.flops * times, self.num_collectives * times, self.collective_bytes * times, in_loops)


def program_cost(hlo: str) -> Cost:
  """The cost of the optimised program `hlo`, as `compiled.as_text()` gives it. Loops count as often as XLA knows."""
  computations, entry = _computations(hlo)

  @functools.cache
  def cost(name: str) -> Cost:
    lines = [match.groups() for match in map(INSTRUCTION.match, computations[name]) if match]
    shapes = {name: shape for name, shape, *_ in lines}
    return sum((_own_cost(shape, kind, rest, shapes) + called(kind, rest) for _, shape, kind, rest in lines), Cost())

  def called(kind: str, rest: str) -> Cost:
    if kind not in ("fusion", "while", "call"):
      return Cost()
    inner = cost(CALLED.search(rest)[1])
    trips = TRIPS.search(rest)
    return inner.repeated(int(trips[1]) if trips else 1) if kind == "while" else inner

  return cost(entry)


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
  """The lines of each computation by its name, and the name of the program's own."""
  computations: dict[str, list[str]] = {}
  name = entry = ""
  for line in hlo.splitlines():
    if head := HEAD.match(line):
      name = head[2]
      computations[name] = []
      entry = name if head[1] else entry
    elif name:
      computations[name].append(line)
  return computations, entry


def _own_cost(shape: str, kind: str, rest: str, shapes: dict[str, str]) -> Cost:
  """The cost of one instruction but for the computations that it calls."""
  if kind in COLLECTIVES:
    return Cost(num_collectives=1, collective_bytes=_sizes(shape)[1])
  if NO_ARITHMETIC.fullmatch(kind):
    return Cost()
  operands = re.findall(r"%([\w.-]+)", rest)
  if kind == "dot":
    lhs = [int(dim) for dim in SHAPE.search(shapes[operands[0]])[2].split(",")]
    contracted = [int(dim) for dim in CONTRACTED.search(rest)[1].split(",") if dim]
    return Cost(2.0 * _sizes(shape)[0] * math.prod(lhs[dim] for dim in contracted))
  # What a reduction reads, what a scatter adds, and otherwise one operation for each result.
  counted = {"reduce": 0, "reduce-window": 0, "scatter": 2}.get(kind)
  return Cost(float(_sizes(shape if counted is None else shapes[operands[counted]])[0]))


def _sizes(shape: str) -> tuple[int, int]:
  """How many numbers, and how many bytes, are in an array or in a tuple of arrays."""
  arrays = [(dtype, math.prod(int(dim) for dim in dims.split(",") if dim)) for dtype, dims in SHAPE.findall(shape)]
  bits = [(int(found[1]) if (found := BITS.match(dtype)) else 8) * size for dtype, size in arrays]
  return sum(size for _, size in arrays), sum(bits) // 8
