"""Paths and links in the documents lead somewhere."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"(?<![\w/.-])(?:composeret_jax|data_pipelines|configs|benchmarks|tests)/[\w/]+\.(?:py|css|flags)")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_and_link_is_there(document):
  text = document.read_text()
  paths = [path for path in PATH.findall(text) if "NAME" not in path]
  missing = [path for path in paths if not (ROOT / path).exists()]
  missing += [link for link in LINK.findall(text) if not (document.parent / link).exists()]
  assert missing == []
