"""Finds phrases that have to be read twice, in documents, docstrings and comments: `python -m tests.prose`."""

import ast
from collections.abc import Iterator
import io
import pathlib
import re
import sys
import tokenize

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("composeret_jax", "data_pipelines", "configs", "benchmarks", "examples")

HINTS = {
  r"(?<!long\s)as (it is|they are)": "say `unchanged`, or what happens",
  r"(that|those) of": "repeat the noun",
  r"one's own": "say `your`, or leave it out",
  r"(is|are) (said|told)": "say who reports it: `is reported`",
  r"whoever": "name it, or say `any`",
  r"what (is|are) to be": "name it",
  r"(has|have) a say": "say what it changes",
}
PHRASES = {re.compile(rf"\b{phrase}\b".replace(" ", r"\s+"), re.IGNORECASE): hint for phrase, hint in HINTS.items()}
RIDDLE = re.compile(r"(What|Where|Who|Of)\b")  # at the start of a docstring

Found = tuple[int, str, str]  # line, phrase, hint


def phrases(text: str, first_line: int = 1) -> Iterator[Found]:
  """The phrases of a text, with the lines where they stand."""
  for phrase, hint in PHRASES.items():
    for match in phrase.finditer(text):
      yield first_line + text.count("\n", 0, match.start()), " ".join(match[0].split()), hint


def in_python(source: str) -> Iterator[Found]:
  """The phrases of a module's docstrings and comments."""
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      continue
    if docstring := ast.get_docstring(node, clean=False):
      line = node.body[0].lineno
      yield from phrases(docstring, line)
      if match := RIDDLE.match(docstring):
        yield line, f'"""{match[0]}', "start with a noun or a verb"
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      yield from phrases(token.string, token.start[0])


def in_document(text: str) -> Iterator[Found]:
  """The phrases of a Markdown file, without what it shows as code."""
  without_code = re.sub(r"```.*?```|`[^`]*`", lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
  yield from phrases(without_code)


def main(paths: list[str]) -> int:
  """Prints what it finds in these files, or in all of the project; 1 where it finds anything."""
  documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
  modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
  found = 0
  for path in [pathlib.Path(path).resolve() for path in paths] or sorted([*documents, *modules]):
    text = path.read_text(encoding="utf-8")
    for line, phrase, hint in sorted(in_python(text) if path.suffix == ".py" else in_document(text)):
      print(f"{path.relative_to(ROOT)}:{line}: {phrase!r}: {hint}")
      found += 1
  return int(found > 0)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
