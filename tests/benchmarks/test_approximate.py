"""Recall of what FAISS finds, beside exact search."""

import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("faiss")
ROOT = pathlib.Path(__file__).parents[2]
SKIPPED = ("usearch", "usearch, 8-bit", "FAISS HNSW", "FAISS IVF, 8-bit")


def test_exact_indexes_find_all_and_cells_fewer(tmp_path):
  arguments = ["--num_vectors=2000", "--dim=32", "--num_queries=5", f"--output={tmp_path / 'rows.json'}"]
  arguments += [f"--skip={kind}" for kind in SKIPPED]
  subprocess.run(
    [sys.executable, "-m", "benchmarks.approximate", *arguments], cwd=ROOT, check=True, capture_output=True
  )
  rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
  recalls = {(row["index"], row["effort"]): row["recall@10"] for row in rows}
  assert recalls["FAISS flat", 0] == recalls["FAISS 8-bit (SQ8)", 0] == 1
  assert recalls["FAISS IVF", 64] <= recalls["FAISS IVF", 256] <= recalls["FAISS IVF", 512]
  assert recalls["FAISS IVF", 64] < 1
