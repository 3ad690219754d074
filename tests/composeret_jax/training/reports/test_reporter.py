import json
import os
import pathlib
import struct

import jax
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from composeret_jax.evaluation.report import recall_table, ties_line
from composeret_jax.training.config.same_run import config_from_json, flatten
from composeret_jax.training.reports.reporter import Reporter


def test_a_line_for_each_part_of_each_half():
  metrics = {
    "R@1": 0.125,
    "R@10": 0.5,
    "noun/R@1": 0.25,
    "noun/R@10": 1.0,
    "image_only/R@1": 0.0,
    "image_only/R@10": 0.1,
    "rerank/noun/R@1": 0.5,
    "rerank/noun/R@10": 0.75,
  }
  assert recall_table(metrics).splitlines() == [
    "                           R@1    R@10",
    "composed                  12.5    50.0",
    "composed noun             25.0   100.0",
    "image only                 0.0    10.0",
    "rerank noun               50.0    75.0",
  ]


def test_the_columns_are_those_of_the_protocol_and_the_headline_stands_below():
  metrics = {
    "dress/R@10": 0.25,
    "dress/R@50": 0.5,
    "headline": 0.375,
    "text_only/headline": 0.2,
    "num_missing_images": 3,
  }
  assert recall_table(metrics).splitlines() == [
    "                          R@10    R@50",
    "composed dress            25.0    50.0",
    "composed headline         37.5",
    "text only headline        20.0",
  ]


def tensorboard_values(folder):
  """(step, value) of all that is in TensorBoard's event files: records of length, checksum, event, checksum."""
  found = []
  for path in sorted(folder.glob("events.*")):
    content, start = path.read_bytes(), 0
    while start < len(content):
      (length,) = struct.unpack_from("<Q", content, start)
      event = Event.FromString(content[start + 12 : start + 12 + length])
      found += [(event.step, value) for value in event.summary.value]
      start += 16 + length
  return found


def tensorboard_scalars(folder):
  """(name, step, value) of every scalar."""
  values = [(step, value) for step, value in tensorboard_values(folder) if value.WhichOneof("value") == "simple_value"]
  return [(value.tag, step, value.simple_value) for step, value in values]


def test_tensorboard_gets_the_heading_the_configuration_and_hyper_parameters(config, tmp_path):
  with Reporter(tmp_path, config, first_step=0, heading="Model:   compose_ae"):
    pass
  found = {value.tag: value for _, value in tensorboard_values(tmp_path / "tensorboard")}
  assert b"compose_ae" in found["run/text_summary"].tensor.string_val[0]
  assert b'"batch_size": 8' in found["config/text_summary"].tensor.string_val[0]
  data = HParamsPluginData.FromString(found["_hparams_/session_start_info"].metadata.plugin_data.content)
  fields = data.session_start_info.hparams
  assert fields["batch_size"].number_value == 8 and fields["model.composer"].string_value == "compose_ae"
  assert fields["model.image_encoder.stage_sizes"].string_value == "(1,)"


def test_config_json_says_what_the_run_is_made_with_and_is_read_as_before(config, tmp_path):
  with Reporter(tmp_path, config, first_step=0):
    pass
  found = json.loads((tmp_path / "config.json").read_text())
  assert found["made_with"]["packages"]["jax"] == jax.__version__
  assert dict(flatten(config_from_json(found))) == dict(flatten(config))


def test_metrics_have_the_same_names_in_both_files(config, tmp_path):
  with Reporter(tmp_path, config, first_step=0) as reporter:
    reporter.scalars(1, {"train/total": 0.5})
    reporter.scalars(2, {"eval/R@1": 0.25, "eval/adjective/R@10": 1.0})
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert lines == [{"step": 1, "train/total": 0.5}, {"step": 2, "eval/R@1": 0.25, "eval/adjective/R@10": 1.0}]
  expected = [("train/total", 1, 0.5), ("eval/R@1", 2, 0.25), ("eval/adjective/R@10", 2, 1.0)]
  assert tensorboard_scalars(tmp_path / "tensorboard") == expected


def test_what_an_interrupted_run_reported_too_far_is_removed(config, tmp_path):
  with Reporter(tmp_path, config, first_step=0) as reporter:
    for step in (1, 2, 3):
      reporter.scalars(step, {"train/total": float(step)})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 4, "train/to')  # killed while writing
  with Reporter(tmp_path, config, first_step=2) as reporter:
    reporter.scalars(3, {"train/total": 30.0})
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [(line["step"], line["train/total"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def steps(file):
  return [json.loads(line)["step"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("change", range(6))
def test_killed_while_it_resumes_no_line_is_lost(config, tmp_path, monkeypatch, change):
  """Before the `change`-th call that changes files, everything ends, as at a kill: what is not yet flushed is gone."""
  file = tmp_path / "metrics.jsonl"
  file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
  pid = os.fork()
  if not pid:
    calls = [0]

    def counted(function):
      def call(*arguments, **options):
        calls[0] += 1
        if calls[0] > change:
          os._exit(0)
        return function(*arguments, **options)

      return call

    for name in ("fsync", "replace", "open"):
      setattr(os, name, counted(getattr(os, name)))
    write = pathlib.Path.write_text

    def cut(path, content, *arguments):  # a file is empty before it is written
      write(path, "")
      os._exit(0)

    pathlib.Path.write_text = cut
    Reporter(tmp_path, config, first_step=2)
    os._exit(0)
  os.waitpid(pid, 0)
  assert steps(file) in ([1, 2, 3], [1, 2])


def test_lines_that_power_loss_has_damaged_are_named_and_set_aside(config, tmp_path, capsys):
  file = tmp_path / "metrics.jsonl"
  file.write_bytes(b'{"step": 1}\n' + b"\0" * 40 + b"\n" + b"\0" * 9 + b'{"step": 2}\n{"st\n[3]\n{"step": 3}\n')
  with Reporter(tmp_path, config, first_step=3):
    pass
  assert steps(file) == [1, 2, 3]
  aside = tmp_path / "unreadable_metrics.jsonl"
  assert aside.read_bytes() == b"\0" * 40 + b'\n{"st\n[3]\n'
  assert f"{file}: 3 lines are damaged, moved to {aside} (lines 2, 4, 5)" in capsys.readouterr().err


def test_metrics_are_read_as_strictly_as_other_json(config, tmp_path):
  file = tmp_path / "metrics.jsonl"
  file.write_text('{"step": 1}\n{"step": 2, "train/total": NaN}\n{"step": 1e999}\n' + '{"a":' * 200_000 + "\n")
  with Reporter(tmp_path, config, first_step=3):
    pass
  assert steps(file) == [1]
  assert len((tmp_path / "unreadable_metrics.jsonl").read_text().splitlines()) == 3


def test_the_table_has_a_line_where_more_than_one_in_a_hundred_queries_is_tied():
  shares = {"tied_share": 0.25, "image_only/tied_share": 0.01, "text_only/tied_share": 0.011}
  assert ties_line(shares).endswith("equal scores: composed 25.0%, text only 1.1%")
  assert ties_line(dict.fromkeys(shares, 0.01)) == ""
