"""Training from Python, without a workdir: each function is one part of what `composeret train` does.

Batches are streamed, and a call of the step runs one step. What a configuration says of reports, checkpoints, placement
and several steps in a call has no effect here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jaxtyping import Array, Shaped, UInt8
import ml_collections
import numpy as np

from composeret_jax.distributed import data_mesh
from composeret_jax.evaluation import report
from composeret_jax.evaluation.evaluator import Evaluation, Evaluator
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step import step
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import evaluated_variables, TrainState
from composeret_jax.training import batches
from composeret_jax.training.config.check import check_config
from composeret_jax.training.resume import placed_first_state, read_first_parameters
from composeret_jax.training.run import build_model_of, Data, open_checked_data
from data_pipelines.input_error import InputError

Batch = Mapping[str, Shaped[Array, "..."]]


def open_data(config: ml_collections.ConfigDict) -> Data:
  """Opens the data set of a whole configuration; prepares it when you first use it.

  `dataset` has the training images and triplets, and the gallery and the queries of the test split; `texts` reads its
  texts for the model. Raises InputError that names every mistake in the configuration, or says what is wrong with the
  raw files.
  """
  check_config(config, jax.device_count())
  return open_checked_data(config)


def build_model(data: Data) -> RetrievalModel:
  """The model of `data.config`, initialised from `config.seed` or from the files of weights that it names.

  Raises InputError for files of weights that cannot be used.
  """
  model = build_model_of(data)
  read_first_parameters(data, model)
  return model


def first_state(data: Data, model: RetrievalModel) -> TrainState:
  """The state before the first step: the model's variables, the optimiser's state, and the key of random numbers."""
  return placed_first_state(data.config, model, build_optimizer(data.config), {})


def train_batches(data: Data, first_step: int = 0) -> Iterator[Batch]:
  """The batches of the steps from `first_step` to `config.num_train_steps`, on the devices.

  Each has `reference` and `target`, uint8 [batch, size, size, 3] (with a frozen image encoder its features, float32
  [batch, dim]), and the texts: int32 `tokens` [batch, length] or `text_rows` [batch]. The order depends on
  `config.seed` and the step alone.

  Raises InputError when the data set has no training triplets.
  """
  return batches.train_batches(data, _parallel(data.config), first_step, as_rows=False)


def make_train_step(
  data: Data, model: RetrievalModel
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Any]]]:
  """The compiled training step: (state, batch) -> (state, losses).

  It uses up the state that it is given. `losses` are float32 []: `total`, each loss with a weight, `gradient_norm`.

  Raises InputError when `config.hard_negatives` are to be mined, which only `train` does.
  """
  if data.config.hard_negatives.every_steps:
    raise InputError(
      f"config.hard_negatives.every_steps is {data.config.hard_negatives.every_steps}, expected 0: train() mines them"
    )
  parallel = _parallel(data.config)
  compiled = parallel.compile(step.make_train_step(model, build_optimizer(data.config), data.config, parallel))
  return lambda state, batch: compiled(state, batch, None)


def evaluate(data: Data, model: RetrievalModel, state: TrainState) -> Evaluation:
  """Ranks the gallery for each test query. Recalls are fractions, by name: `metrics["R@1"]`, `["image_only/R@1"]`.

  Raises InputError for queries that no image of the gallery answers, unless the configuration allows them, and
  NonFiniteError for features that are not finite.
  """
  evaluator = Evaluator(model, data.dataset, data.texts.reader, data.config)
  return evaluator(evaluated_variables(state))


def results_picture(data: Data, evaluation: Evaluation, num_rows: int = 8) -> UInt8[np.ndarray, "height width 3"]:
  """A picture of up to `num_rows` queries, spread over the test split: reference, text, and the best five images."""
  return report.results_picture(data.dataset, evaluation.ranks, num_rows)


def _parallel(config: ml_collections.ConfigDict) -> Parallel:
  return Parallel(config.parallel, data_mesh(), steps_per_call=1, splits_state=config.parallel_state == "split")
