"""What is said of a compiled step: on this machine's devices, on several, and on a slice of TPUs that is not there."""

import contextlib
import dataclasses
import importlib.util
import io
import json

import jax
import pytest

from composeret_jax.training.planning import devices
from composeret_jax.training.planning.command import compile_step
from composeret_jax.training.planning.stand_ins import DataSizes
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from data_pipelines.input_error import InputError
from tests.fakes import tiny
from tests.test_launch import command, FOUR_DEVICES, run

SIZES = DataSizes(vocabulary_size=100, text_length=4)


def report(config, tmp_path, **options):
  compile_step(config, SIZES, report_file=tmp_path / "report.json", **options)
  return json.loads((tmp_path / "report.json").read_text())


def report_of_a_command(tmp_path, *flags, **environment):
  """--mode=compile in a process of its own."""
  file = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
  arguments = command("no_data", "no_prepared_data", *flags, f"--report={file}", mode="compile")
  result = run(arguments, **environment)
  assert result.returncode == 0, result.stderr
  return json.loads(file.read_text()), result.stdout


@pytest.fixture(scope="module")
def without_data(tmp_path_factory):
  """The report of the tiny step where there is no data, and what was printed."""
  folder, printed = tmp_path_factory.mktemp("without_data"), io.StringIO()
  with contextlib.redirect_stdout(printed):
    found = report(tiny.config(folder / "no_data", folder / "no_data"), folder)
  return found, printed.getvalue()


def test_the_state_and_its_parameters_have_the_bytes_that_training_holds(without_data, config, tmp_path):
  found, _ = without_data
  state = newest_state(open_run(config, tmp_path / "run"))
  words = len(open_run(config, tmp_path / "run").sources["words"])
  lacking = (SIZES.vocabulary_size - words) * config.model.text_encoder.embedding_dim * 4
  params = sum(leaf.nbytes for leaf in jax.tree.leaves(state.variables.params)) + lacking
  assert found["parameter_bytes_per_device"] == params == 4 * found["num_parameters"]
  # Plain momentum keeps one number for each parameter.
  rest = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) - params + lacking
  assert found["state_bytes_per_device"] == params + rest + lacking


def test_a_step_on_this_machine_is_reported_without_data(without_data):
  found, printed = without_data
  assert (found["num_devices"], found["fits"]) == (1, True)
  assert found["collective_bytes_per_device"] == 0
  assert found["peak_bytes_per_device"] > found["state_bytes_per_device"] > found["parameter_bytes_per_device"]
  assert found["estimated_seconds"] is None  # the CPU's compiler has no estimate
  assert "the compiler's estimate of a step: unknown" in printed


@pytest.mark.slow  # compiles several steps
def test_operations_are_of_one_step_with_every_iteration_of_its_loops(config, tmp_path):
  once = report(config, tmp_path)["flops_per_device"]
  config.train.num_microbatches = 4
  config.loss_block_rows = 2
  config.train.steps_per_call = config.log_every_steps = 2
  in_pieces = report(config, tmp_path)["flops_per_device"]
  assert once < in_pieces < 1.6 * once  # each piece is computed again on the way back


def test_a_report_needs_a_folder_that_is_there(config, tmp_path):
  with pytest.raises(InputError, match="is no folder"):
    compile_step(config, SIZES, report_file=tmp_path / "missing" / "report.json")


@pytest.mark.slow  # two processes, each compiles
def test_four_devices_share_the_work_and_send_each_other_gradients(tmp_path):
  one, _ = report_of_a_command(tmp_path, "--vocabulary_size=100")
  four, printed = report_of_a_command(tmp_path, "--vocabulary_size=100", **FOUR_DEVICES)
  assert printed.startswith("4 devices (cpu), batch 8, jit")
  assert four["state_bytes_per_device"] == one["state_bytes_per_device"]
  assert four["flops_per_device"] < 0.5 * one["flops_per_device"]
  assert four["collectives"]["all-reduce"]["num_bytes"] > four["parameter_bytes_per_device"]


@pytest.mark.slow  # compiles the step with each change
def test_a_suggestion_that_fits_is_one_that_the_compiler_has_tried(config, tmp_path, monkeypatch, capsys):
  config.update(batch_size=256, loss="info_nce")
  peak = report(config, tmp_path)["peak_bytes_per_device"]

  def with_less_memory(config):
    return dataclasses.replace(devices.devices_here(config), memory_bytes=int(0.8 * peak))

  monkeypatch.setattr("composeret_jax.training.planning.command.devices_here", with_less_memory)
  compile_step(config, SIZES, suggest=True, report_file=tmp_path / "suggested.json")
  found = json.loads((tmp_path / "suggested.json").read_text())
  assert not found["fits"]
  fitting = [tried for tried in found["tried"] if tried["fits"]]
  assert {"train.num_microbatches": 4} in [tried["changes"] for tried in fitting]
  assert all(tried["peak_bytes_per_device"] <= 0.8 * peak for tried in fitting)
  assert "--config.train.num_microbatches=4: peak" in capsys.readouterr().out


needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install 'composeret-jax[tpu]'"
)


@needs_libtpu
@pytest.mark.slow  # the TPU compiler takes tens of seconds
@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_a_slice_that_is_not_there_is_compiled_for(kind, tmp_path):
  found, printed = report_of_a_command(tmp_path, "--topology=v5e:2x2", f"--config.parallel={kind}")
  assert printed.startswith(f"4 devices (v5e:2x2, TPU v5 lite), batch 8, {kind}")
  assert (found["num_devices"], found["fits"]) == (4, True)
  assert found["memory_bytes_per_device"] == int(15.75 * 2**30)
  assert 0 < found["estimated_seconds"] < 1e-2
  assert 0 < found["model_share_of_peak"] < 1
  assert found["collectives"]["all-reduce"]["num_bytes"] > 0.9 * found["parameter_bytes_per_device"]


@needs_libtpu
@pytest.mark.slow  # as above
def test_what_does_not_fit_a_slice_is_said_with_what_it_needs(tmp_path):
  flags = ("--topology=v5e:2x2", "--config.batch_size=262144", "--config.data.image_size=112")
  found, printed = report_of_a_command(tmp_path, *flags)
  assert not found["fits"]
  assert found["peak_bytes_per_device"] > found["memory_bytes_per_device"]
  assert "exceeds available HBM (15.75G)" in printed
