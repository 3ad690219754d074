"""Opens a run: compares its configuration with the newest checkpoint's, then opens data, model and checkpoints."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import ml_collections
import optax

from composeret_jax.distributed import first_one_first
from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.image_encoder import check_image_trunk, ImageFeatures, trunk_made_with, with_features
from composeret_jax.pretrained.text_encoder import open_texts, Texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.training.checkpoints import Checkpoints, MadeWith, newest_made_with
from composeret_jax.training.hard_negatives import NegativesMiner
from composeret_jax.training.model import build_model, placeholder_of
from composeret_jax.training.workdir.compiled_programs import keep_compiled_programs
from composeret_jax.training.workdir.made_with import (
  check_resumes,
  config_to_evaluate,
  kept_words,
  trained_with,
  words_of_start,
)
from composeret_jax.training.workdir.same_data import check_same_data
from data_pipelines.dataset import Dataset, open_dataset
from data_pipelines.paths import AnyPath, prepared_folder


@dataclasses.dataclass(frozen=True)
class Data:
  """The whole configuration of a run, the data set that it names, and the texts as its model reads them."""

  config: ml_collections.ConfigDict
  dataset: Dataset
  texts: Texts


@dataclasses.dataclass(frozen=True)
class Run:
  """An open run: what training, evaluation and export of one workdir share.

  `sources` identifies what the encoders were read from: an LSTM's words, or the checksums of files of weights. `miner`
  is None where no hard negatives are mined, `validator` where it holds out no validation split.
  """

  config: ml_collections.ConfigDict
  workdir: AnyPath
  dataset: Dataset
  texts: Texts
  model: RetrievalModel
  optimizer: optax.GradientTransformation
  evaluator: Evaluator
  validator: Evaluator | None
  miner: NegativesMiner | None
  sources: Mapping[str, Any]
  checkpoints: Checkpoints

  @property
  def data(self) -> Data:
    """Configuration, data set and texts."""
    return Data(self.config, self.dataset, self.texts)


def open_run(config: ml_collections.ConfigDict, workdir: AnyPath) -> Run:
  """Opens the run of `workdir`, new or not.

  `config` is a configuration that `check_config` accepts. Raises InputError, before any data is opened, when it is not
  the one that the newest checkpoint was made with; and for data or files of weights that cannot be used.
  """
  saved = newest_made_with(workdir)
  if saved:
    check_resumes(saved, config)
  return _open(config, workdir, saved, mines=config.hard_negatives.every_steps > 0)


def open_trained_run(config: ml_collections.ConfigDict, workdir: AnyPath, split: str = "test") -> Run:
  """Opens the trained run of `workdir` on a split of the data set of `config`, which may be another than it trained on.

  It mines no hard negatives, and reads none. Raises InputError as `open_run` does.
  """
  saved = trained_with(workdir, config)
  return _open(config_to_evaluate(saved, config, workdir), workdir, saved, split, mines=False)


def _open(
  config: ml_collections.ConfigDict, workdir: AnyPath, saved: MadeWith | None, split: str = "test", *, mines: bool
) -> Run:
  """Opens data, model and checkpoints; `saved` is what the newest checkpoint was made with."""
  keep_compiled_programs(config.data.compilation_cache)
  data = open_checked_data(
    config,
    split,
    words=kept_words(saved, config),
    check=(lambda dataset: check_same_data(saved, dataset, config)) if saved else None,
  )
  dataset, texts = data.dataset, data.texts
  model = build_model_of(data)
  sources = {**texts.made_with, **trunk_made_with(config)}
  return Run(
    config=config,
    workdir=workdir,
    dataset=dataset,
    texts=texts,
    model=model,
    optimizer=build_optimizer(config),
    evaluator=Evaluator(model, dataset, texts.reader, config),
    validator=Evaluator(model, dataset.validation, texts.reader, config) if dataset.validation else None,
    miner=NegativesMiner(model, dataset.train_images.labels, config) if mines else None,
    sources=sources,
    checkpoints=Checkpoints(workdir, config, sources, lambda: dataset.identity),
  )


def open_checked_data(
  config: ml_collections.ConfigDict,
  split: str = "test",
  *,
  words: Sequence[str] | None = None,
  check: Callable[[Dataset], None] | None = None,
) -> Data:
  """Opens the data of `config`, which `check_config` accepts; prepares what is missing.

  `split` says which queries are evaluated. `words` are those that an LSTM knows, by default the words of the run that
  `config.init_from` names and the training texts'.
  `check` sees the data set before its pixels are prepared. Raises InputError for data or files of weights that cannot
  be used.
  """
  check_image_trunk(config)
  with first_one_first("prepare"):
    dataset = open_dataset(config.data, config.text_query, split, (config.text_template, *config.text_variants))
    if check:
      check(dataset)
    dataset.open_all_pixels()
  if config.model.image_encoder.frozen and not dataset.images_are_texts:
    dataset = with_features(dataset, config)
  texts = open_texts(
    config.model.text_encoder,
    dataset.train_triplets.texts(),
    [*dataset.queries.all_texts(), *(dataset.validation.queries.all_texts() if dataset.validation else ())],
    config.eval.batch_size,
    words=words,
    first_words=words_of_start(config) if words is None else (),
    kept_in=prepared_folder(config.data.prepared_dir) / "text_features",
    placeholder=placeholder_of(config.model),
    are_captions=dataset.images_are_texts,
  )
  if dataset.images_are_texts:
    encode: Any = texts.features  # of a tower, which check_config asks for
    dataset = dataset.with_pixels(lambda images, split: ImageFeatures(encode(images.labels)))
  return Data(config, dataset, texts)


def build_model_of(data: Data) -> RetrievalModel:
  """The model of a whole configuration, for its texts, freshly initialised; no weights are read into it."""
  return build_model(
    data.config.model,
    data.texts.build_encoder,
    data.config.seed,
    data.config.data.image_size,
    has_bias=LOSSES[data.config.loss].has_bias,
    empty_text=data.texts.empty_text(),
    placeholder_id=data.texts.placeholder_id,
  )
