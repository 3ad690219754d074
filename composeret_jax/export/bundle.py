"""Turns the newest checkpoint of a run into a bundle: a folder that answers queries without the training code."""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from safetensors.numpy import save

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Features
from composeret_jax.evaluation.report import show_evaluation
from composeret_jax.export.onnx import check_installed, write_onnx
from composeret_jax.export.programs import export_program, named_weights, row_shapes, serving_programs
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables, variables_of
from composeret_jax.pretrained.image_encoder import load_pretrained
from composeret_jax.pretrained.text_encoder import open_texts, Texts
from composeret_jax.serving.bundle import layout
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.model import build_model
from composeret_jax.training.resume import config_to_json
from composeret_jax.training.run import Run
from data_pipelines.files import replaced
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import DECODER_VERSION
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary

# The most words that an LSTM is given; a BERT has a length of its own.
MAX_WORDS = 256


NUM_EXAMPLES = 6


LONGEST_EXAMPLE = 60  # characters


# Queries that ONNX files are checked on.
NUM_SAMPLES = 8


def export(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, folder: pathlib.Path, *, onnx: bool = False
) -> None:
  """Evaluates the newest checkpoint in `workdir`, and writes it to `folder`, whole or not at all.

  A bundle that is there is replaced. Raises InputError when something else is, or when there is no checkpoint; with
  `onnx` also when the packages for it are not installed, or a program cannot be converted.
  """
  if onnx:
    check_installed()
  folder = folder.resolve()
  check_replaceable(folder)
  run = Run(config, workdir)
  state = run.trained_state()
  variables = evaluated_variables(state)
  features = run.evaluator.features(variables)
  evaluation = run.evaluator.count(features)
  show_evaluation(int(state.step), evaluation, run.dataset)
  if not is_first():
    return
  texts = serving_texts(run)
  model = serving_model(config, texts, variables)
  with replaced(folder) as partial:
    facts = {
      "step": int(state.step),
      "metrics": evaluation.metrics,
      "config": config_to_json(config),
      "example_texts": example_texts(run.dataset.queries.texts),
    }
    samples = sample_queries(run, texts.reader) if onnx else None
    write_bundle(partial, *model, texts.reader, features, facts, config.data, samples)
  print(f"Bundle: {folder}")


def example_texts(texts: Sequence[str]) -> list[str]:
  """A few of the distinct short ones, spread over all of them: what a page offers to try."""
  short = [text for text in dict.fromkeys(texts) if len(text) <= LONGEST_EXAMPLE]
  return short[:: max(1, len(short) // NUM_EXAMPLES)][:NUM_EXAMPLES]


def serving_texts(run: Run) -> Texts:
  """As the run's own, but where the features of a frozen BERT or tower were looked up in a table, itself."""
  config = run.config.model.text_encoder.copy_and_resolve_references()
  config.fine_tune = True
  return open_texts(config, run.dataset.train_triplets.texts(), run.dataset.queries.texts, run.config.eval.batch_size)


def serving_model(
  config: ml_collections.ConfigDict, texts: Texts, trained: Variables
) -> tuple[RetrievalModel, Variables]:
  """The model that reads pixels and token ids, and its variables, among them those that were trained."""
  whole_encoder = config.model.copy_and_resolve_references()
  whole_encoder.image_encoder.frozen = False
  model = build_model(whole_encoder, texts.build_encoder, config.seed, config.data.image_size)
  if config.model.image_encoder.frozen:
    load_pretrained(config.model.image_encoder, model.image_encoder.trunk)
  whole = variables_of(model)
  params = overlaid(whole.params, trained.params)
  return model, Variables(params, overlaid(whole.batch_stats, trained.batch_stats), whole.frozen)


def overlaid(whole: Mapping, part: Mapping) -> dict:
  """`whole` with the leaves of `part` in place of its own."""
  return {
    name: value if name not in part else overlaid(value, part[name]) if isinstance(value, Mapping) else part[name]
    for name, value in whole.items()
  }


def write_bundle(
  folder: pathlib.Path,
  model: RetrievalModel,
  variables: Variables,
  reader: TokenReader,
  features: Features,
  facts: Mapping[str, Any],
  data: ml_collections.ConfigDict,
  samples: tuple[np.ndarray, np.ndarray] | None,
) -> None:
  """All files of a bundle into an empty folder; `facts` are fields of its description that come from the run.

  `data` is that part of the run's configuration.

  With `samples`, pixels and tokens of some queries, programs are written as ONNX too, and checked on these.
  """
  weights = named_weights(variables) | {layout.MEAN_REFERENCE: features.mean_reference}
  (folder / layout.WEIGHTS).write_bytes(save(weights))  # save_file writes a file that only its owner can read
  text = write_texts(folder, reader)
  feature_dim = features.images.shape[1]
  shapes = row_shapes(data.image_size, feature_dim, text["max_length"])
  programs = serving_programs(model, variables)
  for name, program in programs.items():
    (folder / layout.program_file(name)).write_bytes(export_program(program, weights, shapes[name]))
  if samples:
    write_onnx(folder, programs, weights, shapes, *samples)
  write_info(
    folder,
    {
      **facts,
      "format_version": layout.FORMAT_VERSION,
      "jax_version": jax.__version__,
      "feature_dim": feature_dim,
      "mean_norm": float(np.linalg.norm(features.images, axis=1).mean()),
      "image_size": data.image_size,
      "resize": data.resize,
      "interpolation": data.interpolation,
      "decoder_version": DECODER_VERSION,
      "text": text,
      "programs": list(programs),
      "arrays": {name: {"dtype": "F32", "shape": list(array.shape)} for name, array in sorted(weights.items())},
      "files": {path.name: layout.describe_file(path) for path in sorted(folder.iterdir())},
    },
  )


def sample_queries(run: Run, reader: TokenReader) -> tuple[np.ndarray, np.ndarray]:
  """The references' pixels and the tokens of the first NUM_SAMPLES of the evaluation's queries."""
  queries = run.dataset.queries
  references = np.asarray(queries.references[:NUM_SAMPLES])
  return run.dataset.gallery_pixels[references], reader.tokens.encode(queries.texts[:NUM_SAMPLES])


def write_texts(folder: pathlib.Path, reader: TokenReader) -> dict[str, Any]:
  """The vocabulary or the tokenizer, and what the description says of it."""
  if isinstance(reader.tokens, Vocabulary):
    file = folder / layout.TEXT_FILES[layout.WORDS]
    file.write_text(json.dumps(reader.tokens.words, indent=0) + "\n")
    return {"kind": layout.WORDS, "max_length": max(MAX_WORDS, reader.length)}
  reader.tokens.tokenizer.save(str(folder / layout.TEXT_FILES[layout.WORD_PIECES]))
  return {"kind": layout.WORD_PIECES, "max_length": reader.tokens.max_length}


def write_info(folder: pathlib.Path, info: Mapping[str, Any]) -> None:
  """The description and its checksum: last, as it has those of all other files."""
  content = (json.dumps(info, indent=2, sort_keys=True) + "\n").encode()
  (folder / layout.INFO).write_bytes(content)
  (folder / layout.CHECKSUM).write_text(layout.checksum_line(content))


def check_replaceable(folder: pathlib.Path) -> None:
  """Raises InputError when `folder` holds anything but the files that a bundle's own description lists."""
  if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
    return
  try:
    info, _ = layout.read_info(folder)
  except (InputError, OSError) as error:
    raise InputError(f"--bundle={folder} is there and is no bundle: it is not overwritten ({error})") from error
  others = sorted({path.name for path in folder.iterdir()} - {layout.INFO, layout.CHECKSUM, *info["files"]})
  if others:
    raise InputError(
      f"--bundle={folder} has files that its bundle does not list: {', '.join(others[:5])}. It is not overwritten; "
      "move them elsewhere, or choose another folder."
    )
