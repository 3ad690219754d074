"""Metrics of the optimisation: the learning rate, and the radius that the model has learned."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from composeret_jax.distributed import fetch
from composeret_jax.train_step.optimizers import learning_rate_schedule


def optimisation_metrics(
  config: ml_collections.ConfigDict, step: int, losses: Mapping[str, float], params: Mapping[str, Any]
) -> dict[str, float]:
  """`learning_rate` of step number `step`, counted from 1, and `radius` after it: the length of the features.

  `losses` are the losses of the step; they count skipped steps, which do not move the schedule.
  """
  num_updates = max(step - 1 - int(losses.get("num_skipped", 0)), 0)
  radius = fetch(params["radius"]) if config.model.train_radius else config.model.radius
  return {"learning_rate": float(learning_rate_schedule(config)(num_updates)), "radius": float(radius)}
