"""Checkpoints: everything that the next step depends on, saved in the background, the newest ones and the best."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import math
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from composeret_jax.distributed import first_one_first, is_first
from composeret_jax.models.variables import Variables
from composeret_jax.train_step.state import TrainState
from composeret_jax.training.config.same_run import config_from_json, config_to_json
from composeret_jax.training.workdir.restorable import check_restorable
from data_pipelines.buckets.addresses import AnyPath, is_address, move
from data_pipelines.files import changed_files, write_checksums
from data_pipelines.paths import absolute

# By Orbax, after the checksums: when the step was saved, nothing of the state.
WRITTEN_LAST = ("_CHECKPOINT_METADATA", "commit_success.txt")
FOLDER = "checkpoints"  # in the workdir


# Enough of a configuration for a workdir in which nothing is saved.
TO_READ = ml_collections.ConfigDict({"num_newest_checkpoints": 1, "best_metric": ""})

AVERAGE = "averaged_batch_stats"
OPTIONAL = ("negatives", AVERAGE)  # of a state


class DamagedCheckpointError(ValueError):
  """A checkpoint is not as it was saved. The message names it, and the file or what went wrong."""


class MadeWith(NamedTuple):
  """The origin of the checkpoint at `where`: the configuration, and the identity of its words and weights.

  `data` identifies the content of its data set; {} in checkpoints of older versions.
  """

  config: ml_collections.ConfigDict
  sources: dict[str, Any]
  data: dict[str, Any]
  where: str


def _whole(read: Callable) -> Callable:
  """Whatever makes a checkpoint unreadable, as one error."""

  @functools.wraps(read)
  def checked(self, step: int, *arguments):
    try:
      return read(self, step, *arguments)
    except Exception as error:
      raise DamagedCheckpointError(f"{self.path(step)} cannot be read: {error}") from error

  return checked


class Checkpoints:
  """The checkpoints of one run. Use as a context manager: leaving it waits for the save in flight.

  Orbax restores changed bytes without a word. So a checkpoint has its files' checksums, by which `check` knows it
  again. They too are written in the background, before it gets its name: no complete checkpoint is without.
  """

  def __init__(
    self,
    workdir: AnyPath,
    config: ml_collections.ConfigDict,
    sources: Mapping[str, Any],
    identify_data: Callable[[], Mapping[str, Any]] = dict,
  ):
    """Keeps `config.num_newest_checkpoints` and the best by `config.best_metric`.

    `sources` identifies what the encoders were read from: words, or checksums of files of weights, the trunk's too.
    `identify_data` returns what identifies the content of the data set; it is called when that is to be saved.
    """
    self.folder = absolute(workdir) / FOLDER
    self._config = config
    self._sources = sources
    self._identify_data = identify_data
    newest = preservation_policy.LatestN(config.num_newest_checkpoints)

    def rank(metrics: Mapping[str, float]) -> float:
      return metrics.get(config.best_metric, -math.inf)  # not of every evaluation

    best = preservation_policy.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation_policy.AnyPreservationPolicy([newest, best]),
      best_fn=rank,  # without it no metrics are written, and a resumed run forgets which was the best
      async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
    )
    self._saving = -1
    self._manager = ocp.CheckpointManager(self.folder, options=options)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_) -> None:
    self._manager.close()

  @functools.cached_property
  def description(self) -> dict[str, Any]:
    """The origin that each checkpoint names; the first process identifies the data before the others do."""
    with first_one_first("identify_data"):
      data = dict(self._identify_data())
    # On disk the sources are called texts, as in the first checkpoints, which had only texts' sources.
    return {"config": config_to_json(self._config), "texts": dict(self._sources), "data": data}

  def save(self, step: int, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
    """Starts saving the state after `step` steps; the state may be donated to the next step at once."""
    items = {"state": ocp.args.StandardSave(_as_tree(state)), "made_with": ocp.args.JsonSave(self.description)}
    items |= {name: ocp.args.StandardSave(tree) for name, tree in _optional(state).items()}
    self._manager.wait_until_finished()
    self._saving = step
    self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics or {})

  def steps(self) -> list[int]:
    """The steps of all complete checkpoints, the newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def check(self, step: int) -> None:
    """Raises DamagedCheckpointError when a file is not the one that was saved; reads all of them."""
    changed = changed_files(self.path(step), WRITTEN_LAST)
    if changed:
      raise DamagedCheckpointError(f"{self.path(step)} is damaged: {changed[0]} is not the file that was saved")

  def set_aside(self, steps: Sequence[int]) -> None:
    """Moves checkpoints, which are damaged, to `damaged_checkpoints` beside the others; the first process does."""
    if not steps:
      return
    aside = self.folder.with_name("damaged_checkpoints")
    with first_one_first("set_aside"):
      if is_first():
        for step in steps:
          move(self.path(step), aside / f"{step}-{time.time_ns()}")
      self._manager.reload()

  def _seal(self) -> None:
    """By the first process, when everything is written and has no name yet: what cannot be restored gets none."""
    hidden = self.folder.glob(f"{self._saving}{ocp.utils.TMP_DIR_SUFFIX}*")
    # In a bucket nothing is renamed: there Orbax marks the folder by a file that it writes after this.
    for folder in [self.path(self._saving)] if is_address(self.folder) else hidden:
      check_restorable(folder)
      write_checksums(folder, WRITTEN_LAST)

  def latest_step(self) -> int | None:
    """The newest complete checkpoint's step."""
    return self._manager.latest_step()

  def describe_latest(self) -> str:
    """The place of the newest checkpoint, in words."""
    self._manager.wait_until_finished()
    step = self.latest_step()
    return "no checkpoint yet" if step is None else f"last good checkpoint: {self.path(step)}"

  def path(self, step: int) -> AnyPath:
    """The folder of a step's checkpoint."""
    return self.folder / str(step)

  @_whole
  def metrics(self, step: int) -> Mapping[str, float]:
    """The metrics of a step; {} where nothing was measured. Raises DamagedCheckpointError when this part is damaged."""
    if changed := changed_files(self.path(step), WRITTEN_LAST, under="metrics/"):
      raise DamagedCheckpointError(f"{changed[0]} is not the file that was saved")
    return self._manager.metrics(step) or {}

  @_whole
  def made_with(self, step: int) -> MadeWith:
    """The origin of a step's checkpoint; raises DamagedCheckpointError when this part is damaged."""
    changed = changed_files(self.path(step), WRITTEN_LAST, under="made_with/")
    if changed:
      raise DamagedCheckpointError(f"{changed[0]} is not the file that was saved")
    saved = self._manager.restore(step, args=ocp.args.Composite(made_with=ocp.args.JsonRestore()))["made_with"]
    return MadeWith(config_from_json(saved["config"]), saved["texts"], saved.get("data", {}), str(self.path(step)))

  @_whole
  def restore(self, step: int, like: TrainState) -> TrainState:
    """The state of a step, with the shapes, dtypes and shardings of `like`, and what is frozen from there.

    Raises DamagedCheckpointError when it is not whole, or holds arrays of other shapes.
    """
    wanted = {"state": _as_tree(like)} | _optional(like)
    # Checkpoints made before statistics were averaged have no average of them.
    starts_averaging = AVERAGE in wanted and not (self.path(step) / AVERAGE).exists()
    if starts_averaging:
      del wanted[AVERAGE]
    targets = jax.tree.map(ocp.utils.to_shape_dtype_struct, wanted)
    items = {name: ocp.args.StandardRestore(target) for name, target in targets.items()}
    restored = self._manager.restore(step, args=ocp.args.Composite(**items))
    state, optional = dict(restored["state"]), {name: restored[name] for name in wanted if name != "state"}
    variables = Variables(state.pop("params"), state.pop("batch_stats"), like.variables.frozen)
    if starts_averaging:
      if is_first():
        print(f"{self.path(step)} has no averaged batch statistics: the average starts at its own.", file=sys.stderr)
      optional[AVERAGE] = jax.tree.map(jnp.copy, variables.batch_stats)
    elif AVERAGE in optional:  # of the statistics' own type, with which a step averages them
      structure = jax.tree.structure(like.averaged_batch_stats)
      optional[AVERAGE] = jax.tree.unflatten(structure, jax.tree.leaves(optional[AVERAGE]))
    return TrainState(**state, variables=variables, **optional)


def newest_made_with(workdir: AnyPath) -> MadeWith | None:
  """The origin of the newest checkpoint in `workdir` that names one; None where no checkpoint does.

  Makes no folder.
  """
  if not (workdir / FOLDER).is_dir():
    return None
  with Checkpoints(workdir, TO_READ, {}) as checkpoints:
    for step in checkpoints.steps():
      with contextlib.suppress(DamagedCheckpointError):
        return checkpoints.made_with(step)
  return None


def _as_tree(state: TrainState) -> dict:
  """All but frozen variables, which come from files of their own, and what `_optional` gives."""
  apart = ("variables", *OPTIONAL)
  names = [field.name for field in dataclasses.fields(state) if field.name not in apart]
  trained = {"params": state.variables.params, "batch_stats": state.variables.batch_stats}
  return trained | {name: getattr(state, name) for name in names}


def _optional(state: TrainState) -> dict[str, dict]:
  """The parts that not every run has, each an item of its own in a checkpoint: only a run that needs it reads it."""
  return {name: dict(getattr(state, name)) for name in OPTIONAL if getattr(state, name)}
