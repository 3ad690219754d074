"""How many bytes each operation of a compiled program reads and writes, from the program's text."""

import collections
import math
import re

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
BYTES |= {"f64": 8, "s64": 8, "u64": 8}

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)(?= [\w-]+\()|\S+) ([\w-]+)\((.*?)\)(?:,|$)")


def traffic(hlo_text: str) -> dict[str, int]:
  """Bytes of operands and results of each instruction, by its name.

  A fusion that takes a slice of an operand counts all of it: what loops say is too much. Names are those of the whole
  program; workspaces of cuDNN's calls, which are arrays of bytes, do not count.
  """
  found: dict[str, int] = {}
  sizes: dict[str, int] = collections.defaultdict(int)  # of this computation: names may come again in another
  for line in hlo_text.splitlines():
    if not line.startswith(" "):
      sizes.clear()
    elif match := _INSTRUCTION.match(line):
      name, result, operation, operands = match.groups()
      sizes[name] = shapes_bytes(result, but_bytes=operation == "custom-call")
      read = sum(sizes.get(operand, 0) for operand in set(re.findall(r"%([\w.-]+)", operands)))
      found[name] = read + sizes[name]
  return found


def shapes_bytes(text: str, *, but_bytes: bool = False) -> int:
  """Of all arrays whose types are in `text`, as f32[8,64]; without those of u8 with `but_bytes`."""
  shapes = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", text)
  return sum(
    BYTES.get(dtype, 0) * math.prod(int(size) for size in sizes.split(",") if size)
    for dtype, sizes in shapes
    if not (but_bytes and dtype == "u8")
  )
