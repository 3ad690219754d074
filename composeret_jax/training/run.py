"""Opens a run: compares its configuration with the newest checkpoint's, then opens data, model and checkpoints."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any

import jax
import ml_collections
import optax

from composeret_jax.distributed import first_one_first, is_first
from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.image_encoder import check_image_trunk, trunk_made_with, with_features
from composeret_jax.pretrained.text_encoder import open_texts, Texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.training.checkpoints import Checkpoints, MadeWith, newest_made_with
from composeret_jax.training.config.check import check_config
from composeret_jax.training.config.same_run import check_same_run, on_another_dataset
from composeret_jax.training.hard_negatives import NegativesMiner
from composeret_jax.training.model import build_model
from data_pipelines.dataset import Dataset, open_dataset
from data_pipelines.input_error import InputError
from data_pipelines.paths import prepared_folder


@dataclasses.dataclass(frozen=True)
class Run:
  """An open run: what training, evaluation and export of one workdir share.

  `sources` identifies what the encoders were read from: an LSTM's words, or the checksums of files of weights. `miner`
  is None where the configuration mines no hard negatives.
  """

  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  dataset: Dataset
  texts: Texts
  model: RetrievalModel
  optimizer: optax.GradientTransformation
  evaluator: Evaluator
  miner: NegativesMiner | None
  sources: Mapping[str, Any]
  checkpoints: Checkpoints


def open_run(config: ml_collections.ConfigDict, workdir: pathlib.Path, *, trained: bool = False) -> Run:
  """Opens the run of `workdir`, new or not; with `trained` there has to be a checkpoint.

  `config` is a configuration that `check_config` accepts. Raises InputError, before any data is opened, when it is not
  the one that the newest checkpoint was made with; and for data or files of weights that cannot be used.
  """
  saved = trained_with(workdir, config) if trained else newest_made_with(workdir, config)
  if saved:
    check_same_run(saved.config, config, saved.where)
  return _open(config, workdir)


def open_trained_run(config: ml_collections.ConfigDict, workdir: pathlib.Path, split: str = "test") -> Run:
  """Opens the trained run of `workdir` on a split of the data set of `config`, which may be another than it trained on.

  Raises InputError as `open_run` does.
  """
  saved = trained_with(workdir, config)
  if saved.config.data.dataset == config.data.dataset:
    check_same_run(saved.config, config, saved.where)
    return _open(config, workdir, split=split)
  if is_first():
    print(f"{workdir} was trained on {saved.config.data.dataset}, and is evaluated on {config.data.dataset}.")
  config = on_another_dataset(saved.config, config, str(workdir))
  check_config(config, jax.device_count())
  return _open(config, workdir, split=split, words=saved.sources.get("words"))


def trained_with(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> MadeWith:
  """What the newest checkpoint was made with; raises InputError with the path when there is no checkpoint."""
  if not workdir.is_dir():
    raise InputError(f"--workdir={workdir} is no folder: there is no checkpoint")
  saved = newest_made_with(workdir, config)
  if saved is None:
    raise InputError(f"--workdir={workdir} has no checkpoint")
  return saved


def _open(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  *,
  split: str = "test",
  words: Sequence[str] | None = None,
) -> Run:
  """Opens data, model and checkpoints; `words` are those of an LSTM that was trained on another data set."""
  check_image_trunk(config)
  with first_one_first("prepare"):
    dataset = open_dataset(config.data, config.text_query, split)
    dataset.open_all_pixels()
  dataset = with_features(dataset, config) if config.model.image_encoder.frozen else dataset
  texts = open_texts(
    config.model.text_encoder,
    dataset.train_triplets.texts(),
    dataset.queries.texts,
    config.eval.batch_size,
    words=words,
    kept_in=prepared_folder(config.data.prepared_dir) / "text_features",
  )
  has_bias = LOSSES[config.loss].has_bias
  model = build_model(config.model, texts.build_encoder, config.seed, config.data.image_size, has_bias=has_bias)
  mines = config.hard_negatives.every_steps > 0
  sources = {**texts.made_with, **trunk_made_with(config)}
  return Run(
    config=config,
    workdir=workdir,
    dataset=dataset,
    texts=texts,
    model=model,
    optimizer=build_optimizer(config),
    evaluator=Evaluator(model, dataset, texts.reader, config),
    miner=NegativesMiner(model, dataset.train_images.labels, config) if mines else None,
    sources=sources,
    checkpoints=Checkpoints(workdir, config, sources),
  )
