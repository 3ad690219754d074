"""The notebook of examples/ runs, cell by cell, and its model finds what it should."""

import os
import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def printed(notebook, start):
  """The line of the notebook's outputs that begins with `start`."""
  texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
  (line,) = [line for text in texts for line in text.splitlines() if line.startswith(start)]
  return line


@pytest.mark.slow  # draws the data and trains for a minute
def test_the_notebook_runs_and_its_model_learns(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3").execute()
  assert float(printed(notebook, "R@10 ").split()[1].rstrip("%")) > 80


def test_the_stored_notebook_shows_what_it_gives():
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbformat.validate(notebook)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert all(cell.outputs or "import" in cell.source for cell in code)
  assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
  assert float(printed(notebook, "R@10 ").split()[1].rstrip("%")) > 80
  pictures = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
  assert len(pictures) == 2
