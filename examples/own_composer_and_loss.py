"""Adds a composer and a loss to composeret_jax, and trains both on the drawn shapes.

python examples/own_composer_and_loss.py --workdir=runs/own
"""

import pathlib
from typing import ClassVar

from absl import app, flags
from flax import nnx
import jax
from jaxtyping import Array, Float
import ml_collections

import composeret_jax
from composeret_jax import Composer, Loss
from data_pipelines.field_rules import POSITIVE

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STEPS = flags.DEFINE_integer("steps", 400, "Training steps.", lower_bound=1)


class GatedSum(Composer):
  """The text decides for each channel how much of the image stays, and adds its own part."""

  # What config.model.composer_options may hold, each with the rule for its value.
  options: ClassVar = {"text_scale": POSITIVE}

  def __init__(self, image_dim: int, text_dim: int, *, text_scale: float = 1.0, rngs: nnx.Rngs):
    self.gate = nnx.Linear(image_dim + text_dim, image_dim, rngs=rngs)
    self.text = nnx.Linear(text_dim, image_dim, rngs=rngs)
    self.text_scale = text_scale

  def __call__(
    self, image: Float[Array, "batch image_dim"], text: Float[Array, "batch text_dim"], *, rngs=None
  ) -> Float[Array, "batch image_dim"]:
    """The raw feature of what the text makes of the image."""
    gate = jax.nn.sigmoid(self.gate(jax.numpy.concatenate([image, text], axis=1)))
    return gate * image + self.text_scale * self.text(text)


def margin_loss(composed, targets, block_rows, shard):
  """Every wrong target of the batch has to score at least 1 less than the right one.

  `composed` and `targets` are float32 [rows, dim], on the model's sphere: this device's rows of the batch. `shard`
  gives the rows of the other devices; `block_rows` is for losses that compute in blocks.
  """
  del block_rows
  scores = composed @ shard.all_rows(targets).T  # [rows, batch]
  right = (composed * targets).sum(axis=1, keepdims=True)
  is_right = shard.row_numbers(len(composed))[:, None] == jax.numpy.arange(scores.shape[1])
  return jax.nn.relu(1 + scores - right).mean(where=~is_right)


# The names are values of config.model.composer and config.loss from now on.
composeret_jax.COMPOSERS["gated_sum"] = GatedSum
composeret_jax.LOSSES["margin"] = Loss(margin_loss)


def get_config(num_steps: int) -> ml_collections.ConfigDict:
  """The shapes with the new composer and the new loss."""
  config = composeret_jax.load_config("shapes:sum")
  config.model.composer = "gated_sum"
  config.model.composer_options = ml_collections.ConfigDict({"text_scale": 1.0})
  config.loss = "margin"
  config.num_train_steps = config.eval_every_steps = config.checkpoint_every_steps = num_steps
  return config


def main(_) -> None:
  """Trains, prints the recalls, and writes checkpoints and results.png."""
  composeret_jax.train(get_config(_STEPS.value), pathlib.Path(_WORKDIR.value))


if __name__ == "__main__":
  app.run(main)
