"""Checkpoints: everything that the next step depends on, saved in the background, the newest ones and the best."""

from collections.abc import Mapping
import operator
import pathlib
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from composeret_jax.run_config import config_from_json, config_to_json
from composeret_jax.train_step import TrainState


class Checkpoints:
  """The checkpoints of one run. Use as a context manager: leaving it waits for the save in flight."""

  def __init__(self, workdir: pathlib.Path, config: ml_collections.ConfigDict, texts: Mapping[str, Any]):
    """Keeps `config.num_newest_checkpoints` and the best by `config.best_metric`; `texts` is what was read."""
    self._directory = workdir.resolve() / "checkpoints"
    self._made_with = {"config": config_to_json(config), "texts": dict(texts)}
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
    self._manager.close()

  def save(self, step: int, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
    """Starts saving the state after `step` steps; the state may be donated to the next step at once."""
    items = ocp.args.Composite(
      state=ocp.args.StandardSave(_as_tree(state)), made_with=ocp.args.JsonSave(self._made_with)
    )
    self._manager.save(step, args=items, metrics=metrics)

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

  def made_with(self, step: int) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """The configuration, and what identifies the words or the BERT, that a checkpoint was trained with."""
    saved = self._manager.restore(step, args=ocp.args.Composite(made_with=ocp.args.JsonRestore()))["made_with"]
    return config_from_json(saved["config"]), saved["texts"]

  def restore(self, step: int, like: TrainState) -> TrainState:
    """The state of a step, with the shapes, dtypes and shardings of `like`, and what is frozen from there."""
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _as_tree(like))
    restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
    return TrainState(**restored, frozen=like.frozen)


def _as_tree(state: TrainState) -> dict:
  """All but what is frozen, which comes from files of its own."""
  return {name: getattr(state, name) for name in ("step", "params", "batch_stats", "optimizer_state", "key")}
