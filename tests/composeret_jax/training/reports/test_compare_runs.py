import json

from PIL import Image
import pytest

from composeret_jax.training.reports.compare_runs import plot, read_runs, table
from composeret_jax.training.reports.reporter import Reporter
from data_pipelines.input_error import InputError


@pytest.fixture
def runs(config, tmp_path):
  """Two runs that differ in the batch and in their recalls; the first one is still being written."""
  for name, batch_size, recalls in (("a", 8, (0.25, 0.75, 0.5)), ("b", 16, (0.125,))):
    config.batch_size = batch_size
    config.data.dir = name
    with Reporter(tmp_path / name / "run", config, first_step=0) as reporter:
      for step, recall in enumerate(recalls, start=1):
        reporter.scalars(step, {"train/total": 1 / step})
        reporter.scalars(step, {"eval/R@1": recall, "eval/R@10": recall, "eval/image_only/R@1": 0.0}, "test", "x")
  with (tmp_path / "a" / "run" / "metrics.jsonl").open("a") as file:
    file.write('{"step": 4, "train/to')
  return [tmp_path / "a" / "run", tmp_path / "b" / "run"]


def test_the_table_has_last_and_best_values_and_what_differs(runs):
  assert table(read_runs(runs)).splitlines() == [
    "run    steps    loss    R@1   R@10                 best",
    "a/run      3  0.3333  50.0%  50.0%  eval/R@1 75.0% at 2",
    "b/run      1  1.0000  12.5%  12.5%  eval/R@1 12.5% at 1",
    "",
    "They differ in:",
    "  batch_size: 8 | 16",
  ]


def test_the_best_is_of_the_validation_split_where_there_is_one(runs):
  with (runs[1] / "metrics.jsonl").open("a") as file:
    file.write(json.dumps({"step": 2, "validation/R@1": 0.5}) + "\n")
  assert "validation/R@1 50.0% at 2" in table(read_runs(runs))


def test_the_plot_is_a_png_with_a_line_for_each_run(runs, tmp_path):
  plot(read_runs(runs), tmp_path / "runs.png")
  with Image.open(tmp_path / "runs.png") as picture:
    assert picture.format == "PNG" and picture.width > 1000
    colours = {colour for _, colour in picture.convert("RGB").getcolors(picture.width * picture.height)}
  assert {(31, 119, 180), (255, 127, 14)} <= colours  # of the first line and of the second


def test_folders_that_are_no_runs_are_named(runs, tmp_path):
  with pytest.raises(InputError, match=r"it has no config\.json"):
    read_runs([*runs, tmp_path])
  (runs[0] / "metrics.jsonl").write_text('{"step": 1}\n{"step"\n')
  with pytest.raises(InputError, match="line 2 is damaged"):
    read_runs(runs)
  with pytest.raises(InputError, match="named twice"):
    read_runs([runs[1], runs[1]])
