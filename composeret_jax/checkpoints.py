"""Checkpoints: everything that the next step depends on, saved in the background, the newest ones and the best."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import dataclasses
import functools
import operator
import pathlib
import time
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from composeret_jax.checksums import changed_files, write_checksums
from composeret_jax.processes import first_one_first, is_first
from composeret_jax.run_config import config_from_json, config_to_json
from composeret_jax.train_step import TrainState


class DamagedCheckpointError(ValueError):
  """A checkpoint is not as it was saved. The message names it, and the file or what went wrong."""


def _whole(read: Callable) -> Callable:
  """Whatever makes a checkpoint unreadable, as one error: one that was not finished has no checksums."""

  @functools.wraps(read)
  def checked(self, step: int, *arguments):
    try:
      return read(self, step, *arguments)
    except Exception as error:
      raise DamagedCheckpointError(f"{self.path(step)} cannot be read: {error}") from error

  return checked


class Checkpoints:
  """The checkpoints of one run. Use as a context manager: leaving it waits for the save in flight.

  Orbax restores changed bytes without a word. So a finished checkpoint gets its files' checksums, when the next one
  begins or at the end, by which `check` knows it again.
  """

  def __init__(self, workdir: pathlib.Path, config: ml_collections.ConfigDict, texts: Mapping[str, Any]):
    """Keeps `config.num_newest_checkpoints` and the best by `config.best_metric`; `texts` is what was read."""
    self._directory = workdir.resolve() / "checkpoints"
    self._made_with = {"config": config_to_json(config), "texts": dict(texts)}
    self._best_metric = config.best_metric
    newest = preservation_policy.LatestN(config.num_newest_checkpoints)
    best = preservation_policy.BestN(
      get_metric_fn=operator.itemgetter(config.best_metric), n=1, keep_checkpoints_without_metrics=False
    )
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation_policy.AnyPreservationPolicy([newest, best])
    )
    self._manager = ocp.CheckpointManager(self._directory, options=options)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_) -> None:
    self._seal()
    self._manager.close()

  def save(self, step: int, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
    """Starts saving the state after `step` steps; the state may be donated to the next step at once.

    `metrics` without the best one's are those of a gallery without queries: such a checkpoint is none of the best.
    """
    items = ocp.args.Composite(
      state=ocp.args.StandardSave(_as_tree(state)), made_with=ocp.args.JsonSave(self._made_with)
    )
    self._seal()
    self._manager.save(step, args=items, metrics=metrics if self._best_metric in (metrics or {}) else None)

  def steps(self) -> list[int]:
    """The steps of all complete checkpoints, the newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def check(self, step: int) -> None:
    """Raises DamagedCheckpointError when a file is not the one that was saved; reads all of them."""
    changed = changed_files(self.path(step))
    if changed:
      raise DamagedCheckpointError(f"{self.path(step)} is damaged: {changed[0]} is not the file that was saved")

  def set_aside(self, steps: Sequence[int]) -> None:
    """Moves checkpoints, which are damaged, to `damaged_checkpoints` beside the others; the first process does."""
    if not steps:
      return
    aside = self._directory.with_name("damaged_checkpoints")
    with first_one_first("set_aside"):
      if is_first():
        aside.mkdir(exist_ok=True)
        for step in steps:
          self.path(step).rename(aside / f"{step}-{time.time_ns()}")
      self._manager.reload()

  def _seal(self) -> None:
    self._manager.wait_until_finished()
    if is_first():
      for step in self._manager.all_steps():
        write_checksums(self.path(step))

  def latest_step(self) -> int | None:
    """The newest complete checkpoint's step."""
    return self._manager.latest_step()

  def describe_latest(self) -> str:
    """Where the newest checkpoint is, in words."""
    self._manager.wait_until_finished()
    step = self.latest_step()
    return "no checkpoint yet" if step is None else f"last good checkpoint: {self.path(step)}"

  def path(self, step: int) -> pathlib.Path:
    """Where the checkpoint of a step is."""
    return self._directory / str(step)

  def newest_made_with(self) -> tuple[ml_collections.ConfigDict, dict[str, Any]] | None:
    """`made_with` of the newest checkpoint that says it; None where none does."""
    for step in self.steps():
      with contextlib.suppress(DamagedCheckpointError):
        return self.made_with(step)
    return None

  @_whole
  def made_with(self, step: int) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """The configuration, and what identifies the words or the BERT, that a checkpoint was trained with.

    Raises DamagedCheckpointError, as `restore` does.
    """
    saved = self._manager.restore(step, args=ocp.args.Composite(made_with=ocp.args.JsonRestore()))["made_with"]
    return config_from_json(saved["config"]), saved["texts"]

  @_whole
  def restore(self, step: int, like: TrainState) -> TrainState:
    """The state of a step, with the shapes, dtypes and shardings of `like`, and what is frozen from there.

    Raises DamagedCheckpointError when it is not whole, or holds arrays of other shapes.
    """
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _as_tree(like))
    restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
    return TrainState(**restored, frozen=like.frozen)


def _as_tree(state: TrainState) -> dict:
  """All but what is frozen, which comes from files of its own."""
  return {field.name: getattr(state, field.name) for field in dataclasses.fields(state) if field.name != "frozen"}
