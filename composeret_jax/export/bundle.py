"""Turns the newest checkpoint of a run into a bundle: a folder that answers queries without the training code."""

from collections.abc import Sequence
import os

import ml_collections

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.evaluation.report import show_evaluation
from composeret_jax.export.bundle_files import Content, write_bundle
from composeret_jax.export.bundle_place import check_replaceable, placed
from composeret_jax.export.onnx import check_installed
from composeret_jax.export.sample_queries import sample_queries
from composeret_jax.export.serving_model import serving_model, serving_texts, typed_templates
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.state import evaluated_variables, TrainState
from composeret_jax.training.config.same_run import config_to_json
from composeret_jax.training.resume import trained_state
from composeret_jax.training.run import Data, open_trained_run
from data_pipelines.paths import absolute, AnyPath, path_or_address
from data_pipelines.texts.readers import TokenReader

NUM_EXAMPLES = 6
LONGEST_EXAMPLE = 60  # characters


def export(
  config: ml_collections.ConfigDict,
  workdir: str | os.PathLike[str],
  folder: str | os.PathLike[str],
  *,
  onnx: bool = False,
  checkpoint_step: str = "",
) -> None:
  """Evaluates a checkpoint in `workdir`, which `trained_state` chooses, and writes it to `folder`, whole or not at all.

  A bundle that is there is replaced; in a bucket it is refused. Raises InputError when something else is there, or when
  there is no checkpoint; with `onnx` also when the packages for it are not installed, or a program cannot be converted.
  """
  if onnx:
    check_installed()
  path = absolute(path_or_address(folder, "folder"))
  check_replaceable(path)
  run = open_trained_run(config, path_or_address(workdir, "workdir"))
  write(run.data, run.evaluator, trained_state(run, checkpoint_step), path, onnx=onnx)
  if is_first():
    print(f"Bundle: {path}")


def save_bundle(data: Data, model: RetrievalModel, state: TrainState, folder: str | os.PathLike) -> None:
  """Evaluates the state of a model that was trained without a workdir, and writes both to a bundle's folder.

  A bundle that is there is replaced. Raises InputError when something else is.
  """
  path = absolute(path_or_address(folder, "folder"))
  check_replaceable(path)
  write(data, Evaluator(model, data.dataset, data.texts.reader, data.config), state, path)


def write(data: Data, evaluator: Evaluator, state: TrainState, folder: AnyPath, *, onnx: bool = False) -> None:
  """Evaluates the state, prints its recalls, and writes the bundle; all processes call it."""
  config, variables, dataset = data.config, evaluated_variables(state), data.dataset
  templates = typed_templates(data)
  features = evaluator.features(variables)
  evaluation = evaluator.count(features)
  show_evaluation(int(state.step), evaluation, dataset)
  if not is_first():
    return
  texts = serving_texts(data)
  reader = texts.reader
  if not isinstance(reader, TokenReader):
    raise TypeError(f"a {type(reader).__name__} reads the texts, expected a TokenReader: a bundle gets any text")
  model, variables = serving_model(config, texts, variables)
  content = Content(
    model=model,
    variables=variables,
    reader=reader,
    features=features,
    data_config=config.data,
    facts={
      "step": int(state.step),
      "metrics": evaluation.metrics,
      "split": dataset.gallery_split,
      "texts": dataset.text_names,
      "config": config_to_json(config),
      "example_texts": example_texts(dataset.queries.captions or ([] if templates else dataset.queries.texts)),
      **({"text_templates": list(templates)} if templates else {}),
    },
    samples=sample_queries(data, reader) if onnx else None,
  )
  with placed(folder) as partial:
    write_bundle(partial, content)


def example_texts(texts: Sequence[str]) -> list[str]:
  """A few of the distinct short ones, spread over all of them: what a page offers to try."""
  short = [text for text in dict.fromkeys(texts) if len(text) <= LONGEST_EXAMPLE]
  return short[:: max(1, len(short) // NUM_EXAMPLES)][:NUM_EXAMPLES]
