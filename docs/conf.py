"""The documentation site: `make docs` builds it from these pages, from docstrings and from the flags and fields."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "composeret_jax"
author = "The composeret_jax authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "composeret_jax"
root_doc = "contents"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"


def write_reference(_) -> None:
  """Writes the pages that list every flag and every field, from the program itself."""
  from composeret_jax.command import config_files, config_list, console
  from composeret_jax.command.modes import MODES

  config_files.make_importable()
  from configs import shapes

  folder = ROOT / "docs" / "reference"
  helps = "\n\n".join(f"## composeret {name}\n\n```text\n{console.mode_help(name)}\n```" for name in MODES)
  _write(folder / "command_line.md", f"# Command line\n\n```text\n{console.overview()}\n```\n\n{helps}\n")
  fields = config_list.fields(shapes.get_config(), str(ROOT / "configs" / "shapes.py"))
  intro = (
    "Every field, its comment, and its value in `--config=shapes`. `composeret config --config=NAME` prints another's."
  )
  _write(folder / "config_fields.md", f"# Configuration fields\n\n{intro}\n\n```python\n{fields}\n```\n")


def _write(page: pathlib.Path, text: str) -> None:
  """Leaves a page that has not changed, so that Sphinx does not build it again."""
  page.parent.mkdir(exist_ok=True)
  if not page.exists() or page.read_text() != text:
    page.write_text(text)


def setup(app) -> None:
  """Called by Sphinx."""
  app.connect("builder-inited", write_reference)
