"""One device's operations and collectives in a run of a compiled program; those in loops count as often as they run.

XLA's own analysis counts a loop's body once, however often it runs.
"""

import dataclasses
import math
import re

from composeret_jax.training.planning.collectives import KINDS
from composeret_jax.training.planning.hlo_program import Instruction, num_bytes, read_program, shapes

# Instructions that only move numbers, and those that call computations, which are counted by themselves.
NO_ARITHMETIC = re.compile(
  "parameter|constant|iota|tuple|get-tuple-element|bitcast|bitcast-convert|copy|broadcast|reshape|transpose|slice|"
  "dynamic-slice|dynamic-update-slice|concatenate|pad|gather|reverse|convert|optimization-barrier|partition-id|"
  "replica-id|after-all|custom-call|fusion|while|call|conditional"
)
CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


@dataclasses.dataclass(frozen=True)
class Cost:
  """`flops` counts arithmetic on any numbers; `collective_bytes` are the bytes of the collectives' results.

  `collectives_in_loops` counts the collectives of the program's text that are inside a loop.
  """

  flops: float = 0.0
  num_collectives: int = 0
  collective_bytes: int = 0
  collectives_in_loops: int = 0


def program_cost(hlo: str) -> Cost:
  """The cost of the optimised program `hlo`, as `compiled.as_text()` gives it. Loops count as often as XLA knows."""
  flops = count = sent = in_loops = 0.0
  for computation in read_program(hlo):
    types = {it.name: it.type for it in computation.instructions}
    for it in computation.instructions:
      if it.operation in KINDS:
        count += computation.num_runs
        in_loops += computation.in_loop
        sent += computation.num_runs * sum(num_bytes(*shape) for shape in shapes(it.type))
      elif not NO_ARITHMETIC.fullmatch(it.operation):
        flops += computation.num_runs * _flops(it, types)
  return Cost(float(flops), int(count), int(sent), int(in_loops))


def _flops(instruction: Instruction, types: dict[str, str]) -> float:
  """The numbers that a reduction reads or a scatter adds, a product's operations; otherwise one for each result."""
  if instruction.operation == "dot":
    dims = re.search(r"\[([\d,]*)\]", types[instruction.operands[0]])[1].split(",")
    contracted = CONTRACTED.search(instruction.rest)[1].split(",")
    return 2 * _num_elements(instruction.type) * math.prod(int(dims[int(dim)]) for dim in contracted if dim)
  counted = {"reduce": 0, "reduce-window": 0, "scatter": 2}.get(instruction.operation)
  return _num_elements(instruction.type if counted is None else types[instruction.operands[counted]])


def _num_elements(type_: str) -> int:
  return sum(size for _, size in shapes(type_))
