"""Paths and links in the documents lead somewhere."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"(?<![\w/.-])(?:composeret_jax|data_pipelines|configs|benchmarks|tests)/[\w/]+\.(?:py|css|flags)")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_and_link_is_there(document):
  text = document.read_text()
  paths = [path for path in PATH.findall(text) if "NAME" not in path]
  missing = [path for path in paths if not (ROOT / path).exists()]
  for link, anchor in LINK.findall(text):
    target = document.parent / link if link else document
    if link.startswith("reference/"):  # written when the site is built
      continue
    if not target.exists() or (anchor and anchor not in anchors(target)):
      missing.append(f"{link}#{anchor}")
  assert missing == []


def anchors(document: pathlib.Path) -> set[str]:
  """The anchors of a document's headings."""
  headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_a_dockerfile_names_is_there(dockerfile):
  text = dockerfile.read_text()
  copied = [source for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for source in line.split()[:-1]]
  named = [*copied, *re.findall(r"(?:--constraint|-f) (\S+)", text)]
  assert named and [name for name in named if not (ROOT / name).exists()] == []
  [extras] = re.findall(r"'\.\[([\w,]+)\]'", text)
  declared = re.findall(r'^    "(\w+)": ', (ROOT / "setup.py").read_text(), re.MULTILINE)
  assert set(extras.split(",")) <= set(declared)
  [minor] = re.findall(r"^FROM python:3\.(\d+)-slim$", text, re.MULTILINE)
  assert 11 <= int(minor) <= 13


@pytest.mark.slow  # builds the whole site
def test_the_site_builds_without_a_warning(tmp_path):
  sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-b", "html"]
  built = subprocess.run([*sphinx, ROOT / "docs", tmp_path], capture_output=True, text=True, timeout=300)
  assert built.returncode == 0, built.stderr
  assert (tmp_path / "index.html").exists()
  fields = (tmp_path / "reference" / "config_fields.html").read_text()
  assert all(f"config.{name}" in fields for name in ("num_train_steps", "data.triplets", "model.composer_options"))
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
