"""A compiled program's text: its instructions, and how often each of them runs."""

import dataclasses
import math
import re

_HEAD = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (.*?) ([\w-]+)\((.*)")
_LOOP = re.compile(r"condition=%?([\w.-]+), body=%?([\w.-]+)")
_CALL = re.compile(r"(?:calls|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_SHAPE = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_BITS = re.compile(r"[a-z]+(\d+)")  # in the names of dtypes; pred has none, and is a byte


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line: `type` is the result's, `rest` the operands, behind their opening bracket, and the attributes."""

  name: str
  type: str
  operation: str
  rest: str

  @property
  def operands(self) -> list[str]:
    """The names of the operands, in their order."""
    return re.findall(r"%([\w.-]+)", self.rest.partition("), ")[0])


@dataclasses.dataclass(frozen=True)
class Computation:
  """Instructions that run together: `num_runs` times in one run of the program, `in_loop` inside a loop."""

  instructions: tuple[Instruction, ...]
  num_runs: int
  in_loop: bool


def read_program(hlo: str) -> list[Computation]:
  """The computations that the optimised program `hlo` runs, as `compiled.as_text()` gives it; each call is an entry.

  Functions that reductions apply to pairs of numbers are no computations here. Each branch of a condition counts, and
  a loop of unknown length as one iteration.
  """
  computations, entry = _computations(hlo)
  found = []

  def add(name: str, num_runs: int, in_loop: bool) -> None:
    instructions = computations.get(name, ())
    found.append(Computation(tuple(instructions), num_runs, in_loop))
    for it in instructions:
      if it.operation == "while" and (loop := _LOOP.search(it.rest)):
        add(loop[2], num_runs * _iterations(it.rest, computations.get(loop[1], ())), True)
      for called in _called(it):
        add(called, num_runs, in_loop)

  add(entry, 1, in_loop=False)
  return found


def shapes(text: str) -> list[tuple[str, int]]:
  """The dtype, and the number of elements, of each array type in `text`, as f32[8,64]."""
  return [(dtype, math.prod(int(dim) for dim in dims.split(",") if dim)) for dtype, dims in _SHAPE.findall(text)]


def num_bytes(dtype: str, num_elements: int) -> int:
  """The bytes of an array."""
  bits = _BITS.match(dtype)
  return num_elements * (int(bits[1]) if bits else 8) // 8


def _computations(hlo: str) -> tuple[dict[str, list[Instruction]], str]:
  """The instructions of each computation by its name, and the name of the one that is the program."""
  computations: dict[str, list[Instruction]] = {}
  entry = name = ""
  for line in hlo.splitlines():
    if head := _HEAD.match(line):
      name = head[2]
      computations[name] = []
      entry = name if head[1] else entry
    elif name and (match := _INSTRUCTION.match(line)):
      computations[name].append(Instruction(*match.groups()))
  return computations, entry


def _called(instruction: Instruction) -> list[str]:
  """The computations that an instruction other than a loop runs once."""
  if instruction.operation == "call":
    return re.findall(r"to_apply=%?([\w.-]+)", instruction.rest)
  if instruction.operation.endswith("-done"):
    return []  # its start has the same
  branches = _BRANCHES.search(instruction.rest)
  return [*_CALL.findall(instruction.rest), *(re.findall(r"[\w.-]+", branches[1]) if branches else ())]


def _iterations(loop: str, condition: list[Instruction] | tuple[()]) -> int:
  """The iterations of a loop that counts from 0 to a constant, as a scan does; 1 for other loops."""
  known = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop)
  if known:
    return int(known[1])
  constants = [
    it.rest.partition(")")[0] for it in condition if it.operation == "constant" and it.type.startswith("s32[]")
  ]
  return int(constants[0]) if len(constants) == 1 else 1
