"""How many bytes each operation of a compiled program reads and writes, from the program's text."""

from composeret_jax.training.planning.hlo_program import Instruction, num_bytes, read_program, shapes


def traffic(hlo: str) -> dict[str, int]:
  """Bytes of operands and results of each instruction, by its name.

  A fusion that takes a slice of an operand counts all of it: what loops say is too much. Names are unique in the
  program; workspaces of cuDNN's calls, which are arrays of bytes, do not count.
  """
  found: dict[str, int] = {}
  for computation in read_program(hlo):
    sizes = {it.name: _result_bytes(it) for it in computation.instructions}
    for it in computation.instructions:
      found[it.name] = sizes[it.name] + sum(sizes.get(operand, 0) for operand in set(it.operands))
  return found


def _result_bytes(instruction: Instruction) -> int:
  is_call = instruction.operation == "custom-call"
  return sum(num_bytes(*shape) for shape in shapes(instruction.type) if not (is_call and shape[0] == "u8"))
