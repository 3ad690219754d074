"""The scripts of examples/, each in a process of its own, on tiny data."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.fakes import tiny_datasets, tiny_tower

ROOT = pathlib.Path(__file__).parents[2]


def run(script, *arguments, cwd):
  command = [sys.executable, str(ROOT / "examples" / script), *arguments]
  environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cwd / "cache")}
  done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=500)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.slow  # trains on the whole of the drawn shapes
def test_a_composer_and_a_loss_are_added_and_trained(tmp_path):
  printed = run("own_composer_and_loss.py", "--steps=10", f"--workdir={tmp_path}/run", cwd=tmp_path)
  assert "Step 10, test split" in printed
  config = json.loads((tmp_path / "run" / "config.json").read_text())
  assert (config["model"]["composer"], config["loss"]) == ("gated_sum", "margin")
  lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert 0 <= lines[0]["train/main"] < 100


@pytest.mark.slow  # a process that compiles two towers
def test_a_clip_is_measured_without_training(tmp_path):
  tiny_datasets.make_catalogue(tmp_path / "images")
  rows = tiny_datasets.catalogue_triplets()
  lines = [f"{row['reference']},{row['text']},{row['target']}" for row in rows]
  (tmp_path / "queries.csv").write_text("\n".join(["reference,text,target", *lines]) + "\n")
  clip = tiny_tower.make(tmp_path / "clip")
  arguments = [f"--images={tmp_path}/images", f"--queries={tmp_path}/queries.csv", f"--clip={clip}"]
  arguments += [f"--prepared_dir={tmp_path}/prepared", f"--picture={tmp_path}/results.png"]
  recalls = dict(line.split() for line in run("zero_shot_clip.py", *arguments, cwd=tmp_path).splitlines()[:15])
  assert {"R@1", "image_only/R@10", "text_only/R@100"} <= recalls.keys()
  assert float(recalls["R@100"]) == 100  # the gallery has fewer images
  assert (tmp_path / "results.png").stat().st_size > 1000
