"""The documentation site: `make docs` builds it from these pages, from docstrings and from the flags and fields."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "composeret_jax"
author = "The composeret_jax authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "composeret_jax"
highlight_language = "text"  # of blocks that name no language: commands and what they print
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"


def write_reference(_) -> None:
  """Writes the pages that list every flag and every field, from the program itself."""
  from composeret_jax.command import console
  from composeret_jax.command.modes import MODES

  folder = ROOT / "docs" / "reference"
  helps = "\n\n".join(f"## composeret {name}\n\n```text\n{console.mode_help(name)}\n```" for name in MODES)
  _write(folder / "command_line.md", f"# Command line\n\n```text\n{console.overview()}\n```\n\n{helps}\n")
  _write(folder / "config_fields.md", _config_fields())


def _config_fields() -> str:
  """A page with each field once: those of `shapes`, which all have, and those that a data set or model adds."""
  from composeret_jax.command import config_files, config_list

  intro = (
    "Each field with its value and its comment. `composeret config --config=NAME` prints those of a configuration."
  )
  page, shown = ["# Configuration fields", "", intro], set()
  for name in ("shapes", *config_files.names()):
    file = str(config_files.folder() / f"{name}.py")
    found = config_list.documented_fields(config_files.load_config(name), file)
    own = [line for line in found if line[0] not in shown]
    shown |= {field for field, _, _ in own}
    page += ["", f"## Fields of all configurations, as in {name}" if name == "shapes" else f"## Added by {name}", ""]
    page += [f"- `{field}` = `{value!r}`{_escaped(comment)}" for field, value, comment in own]
    page = page if own else page[:-3]
  return "\n".join(page) + "\n"


def _escaped(comment: str) -> str:
  """The comment behind a line break, with Markdown's signs as signs outside of code."""
  parts = comment.split("`")
  parts[::2] = [re.sub(r"([\\*_\[\]<>|~])", r"\\\1", part) for part in parts[::2]]
  return f"\\\n  {'`'.join(parts)}" if comment else ""


def _write(page: pathlib.Path, text: str) -> None:
  """Leaves a page that has not changed, so that Sphinx does not build it again."""
  page.parent.mkdir(exist_ok=True)
  if not page.exists() or page.read_text() != text:
    page.write_text(text)


def setup(app) -> None:
  """Called by Sphinx."""
  app.connect("builder-inited", write_reference)
