"""Lists of configurations for the command line: their names, and every field with its comment."""

import ast
from collections.abc import Iterator
import importlib
import inspect
import io
import pathlib
import textwrap
import tokenize

import ml_collections

from composeret_jax.command import config_files


def configs_and_models() -> str:
  """The configurations and the models, each with the first sentence of its docstring."""
  lines = ["Configurations (--config=NAME, or --config=NAME:MODEL):"]
  for name in config_files.names():
    docstring = ast.get_docstring(ast.parse((config_files.folder() / f"{name}.py").read_text())) or ""
    lines.append(f"  {name:<20} {docstring.splitlines()[0]}")
  lines += ["", "Models:"]
  config_files.make_importable()
  models = importlib.import_module("configs.models").MODELS
  lines += [f"  {name:<20} {(inspect.getdoc(make) or '').splitlines()[0]}" for name, make in models.items()]
  return "\n".join(lines)


def fields(config: ml_collections.ConfigDict, file: str) -> str:
  """One line for each field: `config.FIELD = VALUE`, under its comment."""
  lines = []
  for field, value, comment in documented_fields(config, file):
    lines += textwrap.wrap(comment, 100, initial_indent="# ", subsequent_indent="# ")
    lines.append(f"{field} = {value!r}")
  return "\n".join(lines)


def documented_fields(config: ml_collections.ConfigDict, file: str) -> Iterator[tuple[str, object, str]]:
  """(`config.FIELD`, value, comment) of each field. Comments come from base.py, models.py and `file`, its own."""
  comments: dict[str, str] = {}
  shared = (config_files.folder() / name for name in ("base.py", "models.py"))
  for commented in (pathlib.Path(file.partition(":")[0]), *shared):
    comments |= dict(field_comments(commented))
  for field, value in _leaves(config, "config"):
    yield field, value, comments.get(field, "")


def field_comments(file: pathlib.Path) -> Iterator[tuple[str, str]]:
  """The comment of each field that a file assigns: above the assignment, or behind it."""
  above: list[str] = []
  field = ""
  for kind, text, (_, column), _, line in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
    assigned, equals, _ = line.strip().partition(" = ")
    if kind == tokenize.COMMENT and not line[:column].strip():
      above.append(text.lstrip("# "))
    elif kind == tokenize.COMMENT and field:
      yield field, " ".join([*above, text.lstrip("# ")])
    elif kind == tokenize.NAME and equals and assigned.startswith(("config.", "model.", "data.")):
      field = assigned.replace("model.", "config.model.", 1) if assigned.startswith("model.") else assigned
      if above:
        yield field, " ".join(above)
    elif kind == tokenize.NEWLINE:
      above, field = [], ""


def _leaves(config: ml_collections.ConfigDict, prefix: str) -> Iterator[tuple[str, object]]:
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _leaves(value, f"{prefix}.{name}")
    else:
      yield f"{prefix}.{name}", value
