"""The files of a bundle: weights, programs, texts and the description."""

from collections.abc import Mapping
import dataclasses
import json
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from safetensors.numpy import save

from composeret_jax.evaluation.evaluator import Features
from composeret_jax.export.onnx import write_onnx
from composeret_jax.export.programs import export_program, named_weights, row_shapes, serving_programs
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables
from composeret_jax.serving.bundle import layout
from data_pipelines.pixels.decode import DECODER_VERSION
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary

# The most words that an LSTM is given; a BERT has a length of its own.
MAX_WORDS = 256


@dataclasses.dataclass(frozen=True)
class Content:
  """The parts that a bundle is written from.

  `model` with `variables` reads pixels and the token ids of `reader`; `features` are an evaluation's, and
  `data_config` is the `data` part of the run's configuration. `facts` are the fields of the description that come from
  the run. With `samples`, pixels and token ids of a few queries, the programs are written as ONNX too, and checked on
  these.
  """

  model: RetrievalModel
  variables: Variables
  reader: TokenReader
  features: Features
  data_config: ml_collections.ConfigDict
  facts: Mapping[str, Any]
  samples: tuple[np.ndarray, np.ndarray] | None


def write_bundle(folder: pathlib.Path, content: Content) -> None:
  """Writes all files of a bundle into an empty folder."""
  features, data_config = content.features, content.data_config
  weights = named_weights(content.variables) | {layout.MEAN_REFERENCE: features.mean_reference}
  (folder / layout.WEIGHTS).write_bytes(save(weights))  # save_file writes a file that only its owner can read
  text = write_texts(folder, content.reader)
  feature_dim = features.images.shape[1]
  shapes = row_shapes(data_config.image_size, feature_dim, text["max_length"])
  programs = serving_programs(content.model, content.variables)
  for name, program in programs.items():
    (folder / layout.program_file(name)).write_bytes(export_program(program, weights, shapes[name]))
  if content.samples:
    write_onnx(folder, programs, weights, shapes, *content.samples)
  write_info(
    folder,
    {
      **content.facts,
      "format_version": layout.FORMAT_VERSION if "text_templates" in content.facts else layout.VERSION_AS_TYPED,
      "jax_version": jax.__version__,
      "feature_dim": feature_dim,
      "mean_norm": float(np.linalg.norm(features.images, axis=1).mean()),
      "image_size": data_config.image_size,
      "resize": data_config.resize,
      "interpolation": data_config.interpolation,
      "decoder_version": DECODER_VERSION,
      "text": text,
      "programs": list(programs),
      "arrays": {name: {"dtype": "F32", "shape": list(array.shape)} for name, array in sorted(weights.items())},
      "files": {path.name: layout.describe_file(path) for path in sorted(folder.iterdir())},
    },
  )


def write_texts(folder: pathlib.Path, reader: TokenReader) -> dict[str, Any]:
  """The vocabulary or the tokenizer, and what the description says of it."""
  if isinstance(reader.tokens, Vocabulary):
    file = folder / layout.TEXT_FILES[layout.WORDS]
    file.write_text(json.dumps(reader.tokens.words, indent=0) + "\n")
    splitter = reader.tokens.splitter
    return {"kind": layout.WORDS, "max_length": max(MAX_WORDS, reader.length), "splitter": splitter}
  reader.tokens.tokenizer.save(str(folder / layout.TEXT_FILES[layout.WORD_PIECES]))
  text = {"kind": layout.WORD_PIECES, "max_length": reader.tokens.max_length}
  return text | ({"plain_signs": True} if reader.tokens.plain_signs else {})


def write_info(folder: pathlib.Path, info: Mapping[str, Any]) -> None:
  """The description and its checksum: last, as it holds the checksums of all other files."""
  content = (json.dumps(info, indent=2, sort_keys=True) + "\n").encode()
  (folder / layout.INFO).write_bytes(content)
  (folder / layout.CHECKSUM).write_text(layout.checksum_line(content))
