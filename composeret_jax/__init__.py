"""Composed image retrieval in JAX: a reference image and a sentence in, the image that the sentence asks for out.

The names of `__all__` are the library. Each is imported when it is first asked for: `import composeret_jax` alone
imports nothing else, and what searches needs neither flax nor the data sets.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from composeret_jax.command.config_files import load_config as load_config
  from composeret_jax.evaluation.evaluator import Evaluation as Evaluation
  from composeret_jax.export.bundle import export as export_bundle  # noqa: F401 (an alias)
  from composeret_jax.export.bundle import save_bundle as save_bundle
  from composeret_jax.export.gallery_images import gallery_images as gallery_images
  from composeret_jax.export.push import push_bundle as push_bundle
  from composeret_jax.models.composers import Composer as Composer
  from composeret_jax.models.composers import COMPOSERS as COMPOSERS
  from composeret_jax.models.retrieval_model import RetrievalModel as RetrievalModel
  from composeret_jax.serving.bundle import Bundle as Bundle
  from composeret_jax.serving.bundle import load as load_bundle  # noqa: F401 (an alias)
  from composeret_jax.serving.index.build import fill_index as fill_index
  from composeret_jax.serving.index.sources import folder_images as folder_images
  from composeret_jax.serving.searcher import Query as Query
  from composeret_jax.serving.searcher import Result as Result
  from composeret_jax.serving.searcher import Searcher as Searcher
  from composeret_jax.train_step.loss import Loss as Loss
  from composeret_jax.train_step.losses import LOSSES as LOSSES
  from composeret_jax.train_step.state import TrainState as TrainState
  from composeret_jax.training.run import Data as Data
  from composeret_jax.training.train import train as train
  from composeret_jax.training.without_workdir import build_model as build_model
  from composeret_jax.training.without_workdir import evaluate as evaluate
  from composeret_jax.training.without_workdir import first_state as first_state
  from composeret_jax.training.without_workdir import make_train_step as make_train_step
  from composeret_jax.training.without_workdir import open_data as open_data
  from composeret_jax.training.without_workdir import results_picture as results_picture
  from composeret_jax.training.without_workdir import train_batches as train_batches
  from data_pipelines.input_error import InputError as InputError

__version__ = "0.1.0"

# The module of each name, and its name there if it has another. The imports above tell type checkers the same.
_FACE = {
  "Bundle": "composeret_jax.serving.bundle",
  "COMPOSERS": "composeret_jax.models.composers",
  "Composer": "composeret_jax.models.composers",
  "Data": "composeret_jax.training.run",
  "Evaluation": "composeret_jax.evaluation.evaluator",
  "InputError": "data_pipelines.input_error",
  "LOSSES": "composeret_jax.train_step.losses",
  "Loss": "composeret_jax.train_step.loss",
  "Query": "composeret_jax.serving.searcher",
  "Result": "composeret_jax.serving.searcher",
  "RetrievalModel": "composeret_jax.models.retrieval_model",
  "Searcher": "composeret_jax.serving.searcher",
  "TrainState": "composeret_jax.train_step.state",
  "build_model": "composeret_jax.training.without_workdir",
  "evaluate": "composeret_jax.training.without_workdir",
  "export_bundle": "composeret_jax.export.bundle:export",
  "fill_index": "composeret_jax.serving.index.build",
  "first_state": "composeret_jax.training.without_workdir",
  "folder_images": "composeret_jax.serving.index.sources",
  "gallery_images": "composeret_jax.export.gallery_images",
  "load_bundle": "composeret_jax.serving.bundle:load",
  "load_config": "composeret_jax.command.config_files",
  "make_train_step": "composeret_jax.training.without_workdir",
  "open_data": "composeret_jax.training.without_workdir",
  "push_bundle": "composeret_jax.export.push",
  "results_picture": "composeret_jax.training.without_workdir",
  "save_bundle": "composeret_jax.export.bundle",
  "train": "composeret_jax.training.train",
  "train_batches": "composeret_jax.training.without_workdir",
}

__all__ = [*_FACE]


def __getattr__(name: str):
  if name not in _FACE:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module, _, attribute = _FACE[name].partition(":")
  return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
  return [*globals(), *_FACE]
