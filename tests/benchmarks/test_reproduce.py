"""The table over seeds: what is finished is not run again, what fails does not stop the rest."""

import csv
import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import reproduce, runs

ROOT = pathlib.Path(reproduce.__file__).parent.parent
SCRIPT = [sys.executable, "-m", "benchmarks.reproduce"]


def finish(workdir, recall, num_train_steps=10, last_step=10):
  workdir.mkdir(parents=True)
  (workdir / "config.json").write_text(json.dumps({"num_train_steps": num_train_steps}))
  lines = [
    {"step": 5, "eval/R@1": 0.0},
    {"step": last_step, "train/total": 1.0},
    {"step": last_step, "eval/R@1": recall, "eval/noun/R@1": recall / 2, "eval/text_only/R@1": 0.01},
  ]
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_mean_and_standard_deviation_over_seeds(tmp_path):
  both = [reproduce.parse_run(text, ["0", "1"]) for text in ("One | a.py | 7", "Two, of two | a.py --config.x=1")]
  for run, seed, recall in ((both[0], 7, 0.25), (both[1], 0, 0.2), (both[1], 1, 0.4)):
    finish(run.workdir(tmp_path, seed), recall)
  command = [*SCRIPT, f"--runs_dir={tmp_path}", f"--table={tmp_path / 'table'}", "--seeds=0,1"]
  command += ["--run=One | a.py | 7", "--run=Two, of two | a.py --config.x=1"]
  assert subprocess.run(command, cwd=ROOT).returncode == 0
  assert (tmp_path / "table.md").read_text().splitlines() == [
    "| run | seeds | R@1 | noun/R@1 |",
    "| --- | --- | --- | --- |",
    "| One | 1 of 1 | 25.0 | 12.5 |",
    "| Two, of two | 2 of 2 | 30.0 ± 14.1 | 15.0 ± 7.1 |",
    "",
    "Percent; mean ± standard deviation over the seeds that finished.",
    "",
    "- One: `python launch.py --config=a.py`",
    "- Two, of two: `python launch.py --config=a.py --config.x=1`",
  ]
  with (tmp_path / "table.csv").open() as file:
    lines = list(csv.DictReader(file))
  assert [(line["run"], line["seeds"], line["metric"]) for line in lines] == [
    ("One", "1", "R@1"),
    ("One", "1", "noun/R@1"),
    ("Two, of two", "2", "R@1"),
    ("Two, of two", "2", "noun/R@1"),
  ]
  assert lines[0]["standard_deviation"] == ""
  assert float(lines[2]["mean"]) == pytest.approx(0.3)
  assert float(lines[2]["standard_deviation"]) == pytest.approx(0.02**0.5)


def test_a_run_that_fails_is_left_out_and_the_others_are_not(tmp_path):
  finish(reproduce.parse_run("Good | a.py | 0", []).workdir(tmp_path, 0), 0.5)
  command = [*SCRIPT, f"--runs_dir={tmp_path}", f"--table={tmp_path / 'table'}"]
  command += ["--run=Bad | there_is_no_such_file.py", "--run=Good | a.py"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1
  log = reproduce.parse_run("Bad | there_is_no_such_file.py | 0", []).workdir(tmp_path, 0) / "log.txt"
  assert f"failed with status 1: see {log}" in done.stdout
  assert "there_is_no_such_file.py" in log.read_text()
  table = (tmp_path / "table.md").read_text()
  assert "| Bad | 0 of 1 |  |  |" in table
  assert "| Good | 1 of 1 | 50.0 | 25.0 |" in table


def test_a_run_is_finished_only_after_its_last_step(tmp_path):
  finish(tmp_path / "stopped", 0.5, num_train_steps=20, last_step=10)
  assert runs.final_metrics(tmp_path / "stopped") is None
  assert runs.final_metrics(tmp_path / "never started") is None


def test_other_arguments_get_another_workdir(tmp_path):
  one, other = (reproduce.parse_run(f"Title | a.py --config.x={x}", ["0"]) for x in (1, 2))
  assert one.workdir(tmp_path, 0) != other.workdir(tmp_path, 0)


@pytest.mark.parametrize("text", ["a.py", "Title |", "Title | a.py | 0 | more", "Title | a.py | one"])
def test_a_mistaken_run_is_refused(text):
  with pytest.raises(ValueError):
    reproduce.parse_run(text, ["0"])


def test_a_plot_without_matplotlib_is_refused_before_anything_is_trained(tmp_path):
  program = "import sys; sys.modules['matplotlib'] = None; sys.argv = ['benchmarks.reproduce', *sys.argv[1:]]\n"
  program += "import runpy; runpy.run_module('benchmarks.reproduce', run_name='__main__')"
  arguments = [
    f"--runs_dir={tmp_path}",
    f"--table={tmp_path}/table",
    f"--plot={tmp_path}/a.png",
    "--run=A | nothing.py",
  ]
  result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
  assert result.returncode == 1
  assert result.stderr == "error: --plot needs matplotlib: pip install matplotlib\n"
  assert not list(tmp_path.iterdir())
