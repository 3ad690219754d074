"""The collectives of a step, read from the compiled program."""

import dataclasses
import re

from composeret_jax.training.planning.hlo_program import Instruction, num_bytes, read_program, shapes

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Sent:
  """The collectives of one kind in one run of a program: how many, and the bytes of their results on one device."""

  count: int
  num_bytes: int

  def share(self, num_steps: int) -> "Sent":
    """One step's, of a program that does several."""
    return Sent(self.count // num_steps, self.num_bytes // num_steps)


def collectives(hlo: str, num_devices: int) -> dict[str, Sent]:
  """The collectives of the optimised program `hlo` by kind, without the kinds that it does not have.

  A collective in a loop counts in each iteration, where their number is a constant of the program. A reduce-scatter
  counts with what it reduces, which is `num_devices` times its result.
  """
  found = {}
  for computation in read_program(hlo):
    for it in computation.instructions:
      kind = it.operation.removesuffix("-start")
      if kind in KINDS:
        sent = computation.num_runs * _result_bytes(it) * (num_devices if kind == "reduce-scatter" else 1)
        found[_identity(it)] = kind, computation.num_runs, sent
  kinds = {kind: [counted[1:] for counted in found.values() if counted[0] == kind] for kind in KINDS}
  return {kind: Sent(*map(sum, zip(*counted, strict=True))) for kind, counted in kinds.items() if counted}


def _identity(collective: Instruction) -> str:
  """A key that all instructions of one collective share.

  XLA gives each of its collectives a channel, which several instructions may have. All collectives that shard_map
  writes have channel 1: these count by instruction.
  """
  channel = re.search(r"channel_id=(\d+)", collective.rest)
  return channel[1] if channel and channel[1] != "1" else collective.name


def _result_bytes(collective: Instruction) -> int:
  """The bytes of the shapes in an instruction's type, without the operands that starts of two kinds have there."""
  sizes = [num_bytes(dtype, size) for dtype, size in shapes(re.sub(r"u32\[\]", "", collective.type))]
  has_operands = collective.operation in ("all-gather-start", "collective-permute-start")
  return sum(sizes[len(sizes) // 2 :] if has_operands else sizes)
