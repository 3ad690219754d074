"""The commands that documents show: `composeret MODE ...` and `launch.py ...`, as lists of arguments."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|\s|/)(composeret|\S*launch\.py)\s+(?=[\w$-])(.*)")
VARIABLE = re.compile(r'([A-Z]+)="(.*)"')
CONTAINER = re.compile(r"^ +args:\n((?: +- .+\n)+)", re.MULTILINE)  # of a Kubernetes manifest


def commands(document: pathlib.Path, heading: str = "") -> list[tuple[str, list[str]]]:
  """(mode, its arguments) for each command in the blocks of a document, or of one section, in their order.

  `$NAME` stands for what the document assigns before: `NAME="..."`.
  """
  found, variables = [], {}
  text = document.read_text(encoding="utf-8")
  if heading:
    text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
  for language, block in BLOCK.findall(text):
    if language == "yaml":
      found += [_mode_and_arguments("composeret", _yaml_list(lines)) for lines in CONTAINER.findall(block)]
    if language not in ("", "bash", "sh", "console"):
      continue
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
      if assigned := VARIABLE.fullmatch(line):
        variables[assigned[1]] = assigned[2]
      elif match := COMMAND.search(line):
        ends_a_quote = match[2].count('"') % 2  # a command for another shell, as ssh's
        text = match[2].rpartition('"')[0] if ends_a_quote else match[2]
        for name, value in variables.items():
          text = re.sub(rf"\${name}\b", lambda _, value=value: value, text)
        found.append(_mode_and_arguments(match[1], shlex.split(text, comments=True)))
  return found


def python_blocks(document: pathlib.Path) -> list[str]:
  """The Python programs that a document shows."""
  return [block for language, block in BLOCK.findall(document.read_text(encoding="utf-8")) if language == "python"]


def _yaml_list(lines: str) -> list[str]:
  return [line.strip().removeprefix("- ") for line in lines.splitlines()]


def _mode_and_arguments(program: str, arguments: list[str]) -> tuple[str, list[str]]:
  if program == "composeret":
    return arguments[0], arguments[1:]
  modes = [argument.removeprefix("--mode=") for argument in arguments if argument.startswith("--mode=")]
  return (modes or ["train"])[0], [argument for argument in arguments if not argument.startswith("--mode=")]
