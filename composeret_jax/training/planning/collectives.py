"""What devices send to each other in a step, read from the compiled program."""

import dataclasses
import math
import re

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


_BITS = re.compile(r"[a-z]+(\d+)")  # in the names of dtypes; pred has none, and is a byte


_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")


_COLLECTIVE = re.compile(rf"\s*(?:ROOT )?%?([\w.-]+) = (.*?) ({'|'.join(KINDS)})(-start)?\(")


_LOOP = re.compile(r"condition=%?([\w.-]+), body=%?([\w.-]+)")


_CALL = re.compile(r"(?:calls|to_apply|true_computation|false_computation)=%?([\w.-]+)")


_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Sent:
  """The collectives of one kind in one run of a program: how many, and the bytes of their results on one device."""

  count: int
  num_bytes: int

  def share(self, num_steps: int) -> "Sent":
    """One step's, of a program that does several."""
    return Sent(self.count // num_steps, self.num_bytes // num_steps)


def collectives(hlo: str, num_devices: int) -> dict[str, Sent]:
  """What the optimised program `hlo` sends, by kind of collective, without the kinds that it does not have.

  A collective in a loop counts in each iteration, where their number is a constant of the program. A reduce-scatter
  counts with what it reduces, which is `num_devices` times its result.
  """
  computations, entry = _computations(hlo)
  times: dict[str, int] = {}
  _count_calls(computations, entry, 1, times)
  found = {}
  for name, num_runs in times.items():
    for match in filter(None, map(_COLLECTIVE.match, computations[name])):
      own_name, shapes, kind, start = match.groups()
      size = num_runs * _result_bytes(shapes, kind, is_start=bool(start))
      size *= num_devices if kind == "reduce-scatter" else 1
      # XLA gives each of its collectives a channel, which several instructions may share. All collectives that
      # shard_map writes have channel 1: these count by instruction.
      channel = re.search(r"channel_id=(\d+)", match.string)
      found[channel[1] if channel and channel[1] != "1" else own_name] = kind, num_runs, size
  kinds = {kind: [counted[1:] for counted in found.values() if counted[0] == kind] for kind in KINDS}
  return {kind: Sent(*map(sum, zip(*counted, strict=True))) for kind, counted in kinds.items() if counted}


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
  """The instructions of each computation by its name, and the name of the one that is the program."""
  computations: dict[str, list[str]] = {}
  entry = name = ""
  for line in hlo.splitlines():
    if match := _COMPUTATION.match(line):
      name = match[2]
      computations[name] = []
      entry = name if match[1] else entry
    elif name:
      computations[name].append(line)
  return computations, entry


def _count_calls(computations: dict[str, list[str]], name: str, num_runs: int, times: dict[str, int]) -> None:
  """Writes into `times` how often `name`, and what it calls, runs where `name` runs `num_runs` times."""
  if times.get(name, 0) >= num_runs or name not in computations:
    return
  times[name] = num_runs
  for line in computations[name]:
    if loop := _LOOP.search(line):
      _count_calls(computations, loop[2], num_runs * _iterations(line, computations.get(loop[1], [])), times)
    branches = _BRANCHES.search(line)
    for called in [*_CALL.findall(line), *(re.findall(r"[\w.-]+", branches[1]) if branches else ())]:
      _count_calls(computations, called, num_runs, times)


def _iterations(loop: str, condition: list[str]) -> int:
  """Of a loop that counts from 0 to a constant, as a scan does; 1 for others."""
  known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop)
  constants = [known[1]] if known else re.findall(r"s32\[\]\S* constant\((\d+)\)", "\n".join(condition))
  return int(constants[0]) if len(constants) == 1 else 1


def _result_bytes(shapes: str, kind: str, *, is_start: bool) -> int:
  """The bytes of the shapes in an instruction's type, without the operands that starts of two kinds have there."""
  sizes = [_num_bytes(dtype, dims) for dtype, dims in _SHAPE.findall(shapes) if dtype != "u32" or dims]
  return sum(sizes[len(sizes) // 2 :] if is_start and kind in ("all-gather", "collective-permute") else sizes)


def _num_bytes(dtype: str, dims: str) -> int:
  bits = _BITS.match(dtype)
  return math.prod(int(dim) for dim in dims.split(",") if dim) * (int(bits[1]) if bits else 8) // 8
