"""Paths and links in the documents lead somewhere."""

import pathlib
import re
import subprocess
import sys

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
  # docs/reference/ is written when the site is built.
  links = [link for link in LINK.findall(text) if not link.startswith("reference/")]
  missing += [link for link in links if not (document.parent / link).exists()]
  assert missing == []


@pytest.mark.slow  # builds the whole site
def test_the_site_builds_without_a_warning(tmp_path):
  sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-b", "html"]
  built = subprocess.run([*sphinx, ROOT / "docs", tmp_path], capture_output=True, text=True, timeout=300)
  assert built.returncode == 0, built.stderr
  assert "num_train_steps" in (tmp_path / "reference" / "config_fields.html").read_text()
  assert "--on_bad_image" in (tmp_path / "reference" / "command_line.html").read_text()


QUESTIONS = (
  "GPU",
  "CSV",
  "model",
  "batch size",
  "resume",
  "several machines",
  "loss",
  "recall low",
  "deploy",
  "licence",
)


def test_the_ten_questions_are_two_clicks_from_the_readme():
  assert "(docs/faq.md)" in (ROOT / "README.md").read_text()
  headings = [line for line in (ROOT / "docs" / "faq.md").read_text().splitlines() if line.startswith("## ")]
  assert len(headings) == len(QUESTIONS)
  assert all(word in heading for word, heading in zip(QUESTIONS, headings, strict=True))
