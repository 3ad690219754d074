"""Experiment trackers beside the workdir: Weights & Biases, and MLflow.

Each start of a run is a run of its own in the tracker, named by the step that it starts from. All of a workdir are in
one group: some hosts refuse to go on with a run that ended, and would lose what a resumed run reports.
"""

from collections.abc import Callable, Mapping
import importlib
import pathlib
import sys
import time
from typing import Any, Protocol

import ml_collections

from composeret_jax.training.config.same_run import flatten
from data_pipelines.input_error import InputError


class Tracker(Protocol):
  """One run of an experiment tracker."""

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds the metrics of a step."""

  def picture(self, step: int, name: str, file: pathlib.Path) -> None:
    """Adds a PNG."""

  def close(self) -> None:
    """Ends the run."""


class Wandb:
  """A run of Weights & Biases; WANDB_MODE=offline writes it to the workdir alone."""

  def __init__(self, module: Any, config: ml_collections.ConfigDict, group: str, folder: pathlib.Path, name: str):
    self._module = module
    self._run = module.init(
      project=config.tracker_project,
      group=group,
      name=name,
      config=dict(flatten(config)),
      dir=str(folder),
      reinit="create_new",
    )

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """The metrics under their own names."""
    self._run.log(dict(values), step=step)

  def picture(self, step: int, name: str, file: pathlib.Path) -> None:
    """The picture under its name."""
    self._run.log({name: self._module.Image(str(file))}, step=step)

  def close(self) -> None:
    """Waits until all is sent."""
    self._run.finish()


class MLflow:
  """A run of MLflow, at MLFLOW_TRACKING_URI. Metrics have `_at_` for `@`, which MLflow refuses in names."""

  def __init__(self, module: Any, config: ml_collections.ConfigDict, group: str, folder: pathlib.Path, name: str):
    self._client, self._metric = module.MlflowClient(), module.entities.Metric
    experiment = self._client.get_experiment_by_name(config.tracker_project)
    number = experiment.experiment_id if experiment else self._client.create_experiment(config.tracker_project)
    tags = {"mlflow.runName": name, "group": group, "workdir": str(folder)}
    self._id = self._client.create_run(number, tags=tags).info.run_id
    params = [module.entities.Param(field, str(value)[:500]) for field, value in flatten(config)]
    for start in range(0, len(params), 100):  # as many as a request may have
      self._client.log_batch(self._id, params=params[start : start + 100])

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """All in one request."""
    now = int(1000 * time.time())
    metrics = [self._metric(name.replace("@", "_at_"), float(value), now, step) for name, value in values.items()]
    self._client.log_batch(self._id, metrics=metrics)

  def picture(self, step: int, name: str, file: pathlib.Path) -> None:
    """The picture as an artifact, in a folder of its step."""
    self._client.log_artifact(self._id, str(file), f"step_{step}")

  def close(self) -> None:
    """Marks the run as finished."""
    self._client.set_terminated(self._id)


TRACKERS: dict[str, Callable[..., Tracker]] = {"wandb": Wandb, "mlflow": MLflow}


class Tracking:
  """Sends to a tracker, if there is one. A tracker that fails is reported once, and training goes on without it."""

  def __init__(self, open_tracker: Callable[[], Tracker] | None):
    self._tracker: Tracker | None = None
    if open_tracker:
      self._try(lambda: setattr(self, "_tracker", open_tracker()))

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds the metrics of a step."""
    self._send("scalars", step, values)

  def picture(self, step: int, name: str, file: pathlib.Path) -> None:
    """Adds a PNG."""
    self._send("picture", step, name, file)

  def close(self) -> None:
    """Ends the tracker's run."""
    self._send("close")

  def _send(self, method: str, *arguments: Any) -> None:
    if self._tracker:
      self._try(lambda: getattr(self._tracker, method)(*arguments))

  def _try(self, call: Callable[[], Any]) -> None:
    try:
      call()
    except Exception as error:  # whatever a host or a network answers
      self._tracker = None
      print(f"The tracker failed, and gets nothing more of this run: {error}", file=sys.stderr)


def check_tracker(config: ml_collections.ConfigDict) -> None:
  """Raises InputError where the tracker that a configuration names is not installed."""
  if config.tracker:
    _import(config.tracker)


def open_tracking(config: ml_collections.ConfigDict, group: str, folder: pathlib.Path, first_step: int) -> Tracking:
  """The tracking of one start of a run. `group` is its workdir's name, `folder` the workdir or a local copy of it."""
  if not config.tracker:
    return Tracking(None)
  module, name = _import(config.tracker), f"{group} from step {first_step}"
  return Tracking(lambda: TRACKERS[config.tracker](module, config, group, folder, name))


def _import(name: str) -> Any:
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise InputError(f"config.tracker is {name!r}, which is not installed: pip install {name} ({error})") from error
