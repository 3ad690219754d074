"""Preparing a data set: several runs that start at once do it once."""

from concurrent.futures import ThreadPoolExecutor
import time

from data_pipelines.datasets import prepare


def test_runs_that_start_at_once_prepare_once(tmp_path, raw_mit_states, monkeypatch):
  prepared = []

  def slowly(builder, *arguments, actual=prepare._prepare):
    time.sleep(0.1)  # so that the others come while this one is at it
    prepared.append(builder.builder_config.name)
    actual(builder, *arguments)

  monkeypatch.setattr(prepare, "_prepare", slowly)
  with ThreadPoolExecutor(3) as runs:
    opened = list(runs.map(lambda _: prepare.open_tables("mit_states", str(raw_mit_states), str(tmp_path)), range(3)))
  assert sorted(prepared) == ["images", "labels", "queries"]
  assert len({tables["images"].info.splits["train"].num_examples for tables in opened}) == 1
