"""`composeret compile`: says what the step of a configuration needs of devices, present or not."""

import dataclasses
import json
import pathlib

import ml_collections

from composeret_jax.training.planning.abstract_step import AbstractStep
from composeret_jax.training.planning.compiled import report_of
from composeret_jax.training.planning.devices import devices_here, devices_of_slice
from composeret_jax.training.planning.report import Report
from composeret_jax.training.planning.stand_ins import DataSizes
from composeret_jax.training.planning.suggest import suggestions
from composeret_jax.training.reports.terminal import say
from data_pipelines.files import write_whole
from data_pipelines.input_error import InputError


def compile_step(
  config: ml_collections.ConfigDict,
  sizes: DataSizes,
  *,
  topology: str = "",
  suggest: bool = False,
  report_file: pathlib.Path | None = None,
) -> None:
  """Compiles the step of `config`, a whole configuration, for a TPU slice or, without one, for this job's devices.

  Prints what it needs and, to `report_file`, writes it as JSON. With `suggest` a step that does not fit is compiled
  with changes that make it smaller. Needs no data set. Raises InputError for a configuration that cannot run there.
  """
  if report_file and not report_file.parent.is_dir():
    raise InputError(f"--report={report_file}: {report_file.parent} is no folder")
  devices = devices_of_slice(topology, config) if topology else devices_here(config)

  def compiled(config: ml_collections.ConfigDict) -> Report:
    return report_of(AbstractStep.of(config, devices.mesh, sizes, devices.memory_bytes), devices)

  say(f"Compiling the step for {devices.mesh.size:,} devices ({devices.name}).")
  report = compiled(config)
  print(report.as_text())
  written = dataclasses.asdict(report)
  if suggest and not report.fits:
    written["tried"] = []
    for tried in suggestions(config, devices.mesh.size, compiled):
      print(tried.as_text())
      written["tried"].append({"changes": dict(tried.changes), **dataclasses.asdict(tried.report)})
  if report_file:
    write_whole(report_file, json.dumps(written, indent=2) + "\n")
