"""A bundle's programs as ONNX files as well, for runtimes that are not JAX (docs/bundle.md)."""

from collections.abc import Mapping
import dataclasses
import logging
import pathlib
import warnings

import jax
from jaxtyping import Int, UInt8
import numpy as np

from composeret_jax.bundle.layout import COMPOSE_FEATURES, COMPOSE_QUERY, COMPOSE_TEXTS, ENCODE_GALLERY
from composeret_jax.layers.convolution import plain_convolutions
from composeret_jax.serving_programs import Program
from data_pipelines.input_error import InputError

# Converted programs take any number of rows, but texts of one length: the converter cannot leave two sizes open. This
# one, or the longest that the text encoder takes.
TEXT_LENGTH = 64
TOLERANCE = 1e-3

INPUTS = {
  ENCODE_GALLERY: ("pixels",),
  COMPOSE_QUERY: ("pixels", "tokens"),
  COMPOSE_TEXTS: ("tokens",),
  COMPOSE_FEATURES: ("features", "norms", "tokens"),
}
OUTPUTS = ("unit_features", "raw_norms")


@dataclasses.dataclass(frozen=True)
class Samples:
  """Real rows on which the files are compared with the programs."""

  pixels: UInt8[np.ndarray, "num size size 3"]
  tokens: Int[np.ndarray, "num length"]


def write_onnx(
  folder: pathlib.Path,
  programs: Mapping[str, Program],
  weights: Mapping[str, np.ndarray],
  samples: Samples,
  text_length: int = TEXT_LENGTH,
) -> None:
  """Writes NAME.onnx for each program, its weights inside; onnxruntime gives the same to TOLERANCE.

  Raises InputError when the converter is not installed, with the program and the operation when one cannot be
  converted, and when a file computes something else.
  """
  _check_installed()
  rows = _sample_rows(programs, weights, samples, text_length)
  for name, program in programs.items():
    _convert(program, weights, name, rows, folder / f"{name}.onnx")
    _check(program, weights, name, rows, folder / f"{name}.onnx")


def _check_installed() -> None:
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      logging.getLogger("jax2onnx").setLevel(logging.ERROR)  # it lists its own plugins that this jax does not suit
      logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # and the sizes that it leaves open
      import jax2onnx  # noqa: F401
      import onnxruntime  # noqa: F401
  except ImportError as error:
    raise InputError(f"--onnx needs {error.name}: pip install 'composeret-jax[onnx]'") from error


def _sample_rows(
  programs: Mapping[str, Program], weights: Mapping[str, np.ndarray], samples: Samples, text_length: int
) -> dict[str, np.ndarray]:
  """By the names of INPUTS; features and norms are the pixels'."""
  features, norms = jax.jit(programs[ENCODE_GALLERY])(weights, samples.pixels)
  rows = {"pixels": samples.pixels, "features": np.asarray(features), "norms": np.asarray(norms)}
  return rows | {"tokens": fixed_length(samples.tokens, text_length)}


def fixed_length(tokens: Int[np.ndarray, "num length"], text_length: int) -> Int[np.ndarray, "num text_length"]:
  """int32 tokens cut or padded (negative: no token) to a length."""
  tokens = tokens[:, :text_length].astype(np.int32)
  return np.pad(tokens, ((0, 0), (0, text_length - tokens.shape[1])), constant_values=-1)


def _convert(
  program: Program,
  weights: Mapping[str, np.ndarray],
  name: str,
  rows: Mapping[str, np.ndarray],
  file: pathlib.Path,
) -> None:
  from jax2onnx import to_onnx

  constants = {key: jax.numpy.asarray(array) for key, array in weights.items()}
  inputs = [jax.ShapeDtypeStruct(("batch", *rows[key].shape[1:]), rows[key].dtype) for key in INPUTS[name]]
  options = {"model_name": name, "input_names": INPUTS[name], "output_names": OUTPUTS}
  try:
    with plain_convolutions():
      to_onnx(lambda *rows: program(constants, *rows), inputs, **options, return_mode="file", output_path=str(file))
  except Exception as error:  # the converter raises what its operations raise; its message names the operation
    raise InputError(f"{name} cannot be converted to ONNX: {type(error).__name__}: {error}") from error


def _check(
  program: Program,
  weights: Mapping[str, np.ndarray],
  name: str,
  rows: Mapping[str, np.ndarray],
  file: pathlib.Path,
) -> None:
  import onnxruntime

  session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
  for num in (1, len(rows["pixels"])):
    inputs = {key: rows[key][:num] for key in INPUTS[name]}
    expected = jax.jit(program)(weights, *inputs.values())
    found = session.run(list(OUTPUTS), inputs)
    for output, ours, theirs in zip(OUTPUTS, expected, found, strict=True):
      difference = float(np.max(np.abs(np.asarray(ours) - theirs)))
      allowed = TOLERANCE * max(1.0, float(np.max(np.abs(ours))))
      if not difference <= allowed:
        raise InputError(f"{file.name} gives {output} that differ by {difference:.2g}, expected {allowed:.2g} at most")
