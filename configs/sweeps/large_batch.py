"""Batch sizes, each with the learning rate scaled by the batch and by its square root, over as many examples."""

from typing import Any

import ml_collections

BATCH_SIZES = (32, 64, 128, 256, 512)


def get_sweep(config: ml_collections.ConfigDict) -> list[tuple[str, dict[str, Any]]]:
  """Title and changed fields of each run. A run sees as many examples as `config` does, and decays at the same ones."""
  return [run(config, size, exponent) for size in BATCH_SIZES for exponent in exponents(config, size)]


def exponents(config: ml_collections.ConfigDict, batch_size: int) -> tuple[float, ...]:
  """The powers of the batch's growth with which the learning rate grows; one where they agree."""
  return (1.0,) if batch_size == config.batch_size else (0.5, 1.0)


def run(config: ml_collections.ConfigDict, batch_size: int, exponent: float) -> tuple[str, dict[str, Any]]:
  """One run."""
  growth = batch_size / config.batch_size
  learning_rate = float(f"{config.learning_rate * growth**exponent:.3g}")
  num_train_steps = max(round(config.num_train_steps / growth), 1)
  fields = {
    "batch_size": batch_size,
    "learning_rate": learning_rate,
    "num_train_steps": num_train_steps,
    "decay_every_steps": max(round(config.decay_every_steps / growth), 1),
    "eval_every_steps": num_train_steps,
    "log_every_steps": max(num_train_steps // 8, 1),
  }
  return f"batch {batch_size}, learning rate {learning_rate}", fields
