"""Tables written by Apache Beam, for data sets that outgrow one machine. TFDS needs no TensorFlow for it."""

from collections.abc import Callable, Sequence
import dataclasses
import shlex
from typing import Any

from data_pipelines.input_error import InputError


@dataclasses.dataclass(frozen=True)
class Beam:
  """The runner that writes, by Beam's name for it, and its options as on a command line: "--project=mine"."""

  runner: str
  options: str = ""

  def download_options(self) -> dict[str, Any]:
    """Options for TFDS's DownloadConfig; raises InputError where Beam is not installed or has no such runner."""
    try:
      from apache_beam.options.pipeline_options import PipelineOptions
      from apache_beam.runners.runner import create_runner
    except ImportError as error:
      raise InputError("--beam_runner needs the extra beam: pip install 'composeret-jax[beam]'") from error
    try:
      create_runner(self.runner)
    except (ValueError, ImportError) as error:
      raise InputError(f"--beam_runner={self.runner}: {error}") from error
    return {"beam_runner": self.runner, "beam_options": PipelineOptions(shlex.split(self.options))}


def beam_rows(rows: Sequence[Any], example: Callable[[Sequence[str], Any], dict], columns: Sequence[str]) -> Any:
  """A transform that gives (row number, example) of all rows; what a row's image is read from, the workers read."""
  import apache_beam

  return apache_beam.Create(list(enumerate(rows))) | apache_beam.Reshuffle() | apache_beam.Map(_keyed, example, columns)


def _keyed(
  numbered: tuple[int, Any], example: Callable[[Sequence[str], Any], dict], columns: Sequence[str]
) -> tuple[int, dict]:
  number, row = numbered
  return number, example(columns, row)
