"""The made-up catalogue in MegaPairs' format: it can be prepared, and gives a batch with its negatives."""

import json
import sys

import pytest

from benchmarks import megapairs

NUM_ROWS = 4_800  # of which two are test rows


@pytest.mark.slow  # prepares 4,800 rows
def test_a_batch_has_the_rows_own_image_as_its_first_negative(tmp_path):
  megapairs.write_catalogue(tmp_path, NUM_ROWS)
  rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
  assert len(rows) == NUM_ROWS and all(row["hns"][0] == row["q_img"] and len(row["hns"]) == 5 for row in rows)
  batch = megapairs.load_first_batch(tmp_path)
  size = len(batch["tokens"])
  assert batch["reference"].shape == (size, 32, 32, 3) and batch["negative"].shape == (size, 4, 32, 32, 3)
  assert (batch["negative_label"][:, 0] == batch["reference_label"]).all()


def test_what_is_prepared_is_only_opened_again(tmp_path, monkeypatch):
  commands = []
  monkeypatch.setattr(megapairs, "peak_memory", lambda command: (commands.append(command), (0, 0.0))[1])
  assert list(megapairs.measure(tmp_path, is_prepared=True)) == ["first batch of a second start"]
  assert commands == [[sys.executable, "-m", "benchmarks.megapairs", f"--first_batch={tmp_path}"]]
