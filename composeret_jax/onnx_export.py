"""A bundle's programs as ONNX files, each checked under onnxruntime before it stays."""

from collections.abc import Mapping, Sequence
import importlib.util
import logging
import pathlib
import traceback

import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.bundle.layout import COMPOSE_FEATURES, COMPOSE_QUERY, COMPOSE_TEXTS, ENCODE_GALLERY, onnx_file
from composeret_jax.onnx_rewrites import evaluated
from composeret_jax.serving_programs import Program
from data_pipelines.input_error import InputError

PACKAGES = ("jax2onnx", "onnx", "onnxruntime")
TOLERANCE = 1e-3

INPUTS = {
  ENCODE_GALLERY: ["pixels"],
  COMPOSE_QUERY: ["pixels", "tokens"],
  COMPOSE_TEXTS: ["tokens"],
  COMPOSE_FEATURES: ["reference_features", "reference_norms", "tokens"],
}
OUTPUTS = ["features", "norms"]


def check_installed() -> None:
  """Raises InputError that names the extra when one of PACKAGES is not installed."""
  missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
  if missing:
    raise InputError(f"--onnx needs {', '.join(missing)}: pip install 'composeret-jax[onnx]'")


def write_onnx(
  folder: pathlib.Path,
  programs: Mapping[str, Program],
  weights: Mapping[str, np.ndarray],
  shapes: Mapping[str, Sequence[jax.ShapeDtypeStruct]],
  pixels: np.ndarray,
  tokens: np.ndarray,
) -> None:
  """A file for each program, with the weights inside and the open sizes of `shapes` open.

  Each is run on `pixels`, uint8 [rows, size, size, 3], and `tokens`, int32 [rows, length], and on the first row alone.
  Raises InputError with the program, and the operation that cannot be converted, or how far results are off.
  """
  weights = {name: jnp.asarray(array) for name, array in weights.items()}
  features, norms = jax.jit(programs[ENCODE_GALLERY])(weights, pixels)
  rows = {"pixels": pixels, "tokens": tokens, "reference_features": features, "reference_norms": norms}
  for name, program in programs.items():
    file = folder / onnx_file(name)
    file.write_bytes(convert(name, program, weights, shapes[name]))
    inputs = {field: np.asarray(rows[field]) for field in INPUTS[name]}
    for count in (len(pixels), 1):
      _check(name, file, program, weights, {field: array[:count] for field, array in inputs.items()})


def convert(
  name: str, program: Program, weights: Mapping[str, jax.Array], shapes: Sequence[jax.ShapeDtypeStruct]
) -> bytes:
  """The serialised ONNX model of a program, whose inputs are INPUTS and whose outputs are OUTPUTS."""
  for package in ("jax2onnx", "onnx_ir"):  # warn of plugins for libraries that no program uses
    logging.getLogger(package).setLevel(logging.ERROR)
  from jax2onnx import to_onnx

  traced = jax.make_jaxpr(lambda *rows: program(weights, *rows))(*shapes)
  try:
    model = to_onnx(
      lambda *rows: evaluated(traced, *rows), shapes, model_name=name, input_names=INPUTS[name], output_names=OUTPUTS
    )
  except Exception as error:  # whatever a plugin raises
    operation = failed_operation(error)
    raise InputError(f"{name} cannot be converted to ONNX, because of its operation {operation}: {error}") from error
  return model.SerializeToString()


def failed_operation(error: Exception) -> str:
  """The operation that jax2onnx was at when it raised; it has no public way to ask."""
  local = [frame.f_locals.get("eqn") for frame, _ in traceback.walk_tb(error.__traceback__)]
  names = [equation.primitive.name for equation in local if hasattr(equation, "primitive")]
  return names[-1] if names else "(unknown)"


def _check(
  name: str,
  file: pathlib.Path,
  program: Program,
  weights: Mapping[str, jax.Array],
  inputs: Mapping[str, np.ndarray],
) -> None:
  import onnxruntime

  try:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(OUTPUTS, dict(inputs))
  except Exception as error:  # onnxruntime's errors have no class in common
    raise InputError(f"{file.name} was converted, and onnxruntime cannot run it: {error}") from error
  for output, array, expected in zip(OUTPUTS, found, jax.jit(program)(weights, *inputs.values()), strict=True):
    expected = np.asarray(expected)
    if not np.allclose(array, expected, rtol=TOLERANCE, atol=TOLERANCE):
      off = np.abs(array - expected).max()
      raise InputError(f"{name}'s {output} are off by {off:.3g} under onnxruntime, expected at most {TOLERANCE}")
