"""The modes that prepare data and train, evaluate and export runs."""

from composeret_jax.command import run_flags


def train() -> None:
  """Prepares the data, trains a model, evaluates it; resumes a run."""
  from composeret_jax.training.train import train

  train(run_flags.CONFIG.value, run_flags.path_or_bucket(run_flags.WORKDIR))


def evaluate() -> None:
  """Prints the recalls of a trained run."""
  from composeret_jax.training.train import evaluate

  evaluate(run_flags.CONFIG.value, run_flags.path_or_bucket(run_flags.WORKDIR), run_flags.CHECKPOINT_STEP.value)


def submit() -> None:
  """Writes the files that a test server takes."""
  from composeret_jax.export.submission import submit

  submit(
    run_flags.CONFIG.value,
    run_flags.path_or_bucket(run_flags.WORKDIR),
    run_flags.path(run_flags.SUBMISSION),
    run_flags.CHECKPOINT_STEP.value,
  )


def prepare() -> None:
  """Prepares a data set."""
  from composeret_jax.training.config.check import check_config
  from data_pipelines.dataset import prepare
  from data_pipelines.datasets.beam import Beam

  check_config(run_flags.CONFIG.value, num_devices=1)
  prepare(
    run_flags.CONFIG.value.data,
    Beam(run_flags.BEAM_RUNNER.value, run_flags.BEAM_OPTIONS.value) if run_flags.BEAM_RUNNER.value else None,
  )


def compile_step() -> None:
  """Compiles a training step, also for TPUs that this machine lacks, and reports its memory and time."""
  from composeret_jax.training.planning.command import compile_step
  from composeret_jax.training.planning.stand_ins import DataSizes

  sizes = DataSizes(run_flags.VOCABULARY_SIZE.value, run_flags.TEXT_LENGTH.value, run_flags.NUM_IMAGES.value)
  compile_step(
    run_flags.CONFIG.value,
    sizes,
    topology=run_flags.TOPOLOGY.value or "",
    suggest=run_flags.SUGGEST.value,
    report_file=run_flags.path(run_flags.REPORT) if run_flags.REPORT.value else None,
  )


def import_original() -> None:
  """Imports a checkpoint of the original program."""
  from composeret_jax.training.import_original import import_checkpoint

  import_checkpoint(
    run_flags.CONFIG.value, run_flags.path_or_bucket(run_flags.WORKDIR), run_flags.path(run_flags.CHECKPOINT)
  )


def export() -> None:
  """Exports a trained model as a bundle."""
  from composeret_jax.export.bundle import export

  export(
    run_flags.CONFIG.value,
    run_flags.path_or_bucket(run_flags.WORKDIR),
    run_flags.path_or_bucket(run_flags.BUNDLE),
    onnx=run_flags.ONNX.value,
    checkpoint_step=run_flags.CHECKPOINT_STEP.value,
  )


def save_towers() -> None:
  """Writes fine-tuned towers to a folder."""
  from composeret_jax.export.towers import save_towers

  save_towers(
    run_flags.CONFIG.value,
    run_flags.path_or_bucket(run_flags.WORKDIR),
    run_flags.path(run_flags.TOWERS),
    run_flags.CHECKPOINT_STEP.value,
  )


def push() -> None:
  """Pushes a bundle to the Hugging Face hub, with a model card."""
  from composeret_jax.export.push import push_bundle

  address = push_bundle(
    run_flags.path(run_flags.BUNDLE),
    run_flags.required_text(run_flags.REPO),
    towers=run_flags.path(run_flags.TOWERS) if run_flags.TOWERS.value else None,
    licence=run_flags.LICENSE.value,
    private=run_flags.PRIVATE.value,
  )
  print(f"Pushed: {address}")


def compare_runs(*workdirs: str) -> None:
  """Compares runs as a table and a plot."""
  from composeret_jax.training.reports.compare_runs import plot, read_runs, table
  from data_pipelines.input_error import InputError
  from data_pipelines.paths import path_or_address

  if not workdirs:
    raise InputError("no workdir is named, expected `composeret runs WORKDIR...`")
  runs = read_runs([path_or_address(workdir, "WORKDIR") for workdir in workdirs])
  print(table(runs))
  if run_flags.PLOT.value:
    plot(runs, run_flags.path(run_flags.PLOT))
    print(f"Plot: {run_flags.PLOT.value}")
