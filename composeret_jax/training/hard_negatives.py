"""Hard negatives: every so many steps each training image gets the other images that look most like it to the model."""

from collections import Counter
from collections.abc import Sequence
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Int, Num
import ml_collections
import numpy as np
import tqdm

from composeret_jax.distributed import (
  data_mesh,
  gather,
  in_own_batches,
  is_first,
  largest_share,
  own_share,
  part_or_whole,
  place,
  share_sizes,
  SplitRows,
  unsplit,
)
from composeret_jax.evaluation.retrieval import check_features, rank_gallery
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import in_eval_mode
from composeret_jax.train_step.state import TrainState
from data_pipelines.input_error import InputError
from data_pipelines.texts.labels import label_numbers


class NegativesMiner:
  """Mines for models of one structure. What it finds is part of the train state, and so of every checkpoint."""

  def __init__(self, model: RetrievalModel, labels: Sequence[str], config: ml_collections.ConfigDict):
    """`labels` are the training images', `config` a run's whole configuration.

    Raises InputError where an image does not have `config.hard_negatives.num` others with another label.
    """
    self.every_steps = config.hard_negatives.every_steps
    self._num = config.hard_negatives.num
    self._labels = label_numbers(labels)
    self._eval = config.eval
    self._splits_state = config.parallel_state == "split"
    self._encode = in_eval_mode(model, lambda model, images, rows: model.on_sphere(model.encode_targets(images[rows])))
    label, count = Counter(labels).most_common(1)[0]
    if len(labels) - count < self._num:
      raise InputError(
        f"config.hard_negatives.num is {self._num}, but only {len(labels) - count:,} training images have another "
        f"label than {label!r}"
      )

  def nothing_mined(self) -> dict[str, Int[Array, "..."]]:
    """A train state's `negatives` in their shapes, before `mine` fills them."""
    return {"rows": jnp.zeros((len(self._labels), self._num), jnp.int32), "labels": jnp.asarray(self._labels)}

  def is_due(self, step: int) -> bool:
    """Whether to mine after `step` steps: this alone, with the state, decides which negatives the next step sees."""
    return step % self.every_steps == 0

  def mine(self, state: TrainState, images: Num[Array, "num_images ..."] | SplitRows | None) -> TrainState:
    """The state with the nearest images of another label for each of `images`, by the state's own parameters.

    Raises NonFiniteError for features that are not finite, and InputError for images that are not on the devices.
    """
    if images is None:
      raise InputError("config.hard_negatives mine images on the devices, expected config.data.placement = device")
    rows = np.array(own_share(len(images)), np.int32)
    variables = unsplit(state.variables)  # once, not for each batch
    progress = tqdm.tqdm(total=len(images), desc="mine negatives", leave=False, disable=not is_first())

    def encode(rows):
      progress.update(len(rows))
      return self._encode(variables, images, rows)

    with progress:
      own = in_own_batches(encode, self._eval.batch_size, largest_share(len(images)), rows)
    features = gather(own, share_sizes(len(images)))
    check_features(training=features)
    ranking = rank_gallery(
      features,
      features,
      k=self._num,
      query_groups=self._labels,
      gallery_groups=self._labels,
      other_groups=True,
      query_block=self._eval.query_block,
      gallery_block=self._eval.gallery_block,
    )
    sharding = part_or_whole(data_mesh(), ranking.rows.shape, split=self._splits_state)
    placed = place(ranking.rows.astype(np.int32), sharding)
    return dataclasses.replace(state, negatives={**state.negatives, "rows": placed})
