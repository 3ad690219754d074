"""A bundle's exported programs, looked at before one of them runs."""

from collections.abc import Callable, Mapping
import pathlib
import re
from typing import Any

import jax
from jax import export
import numpy as np

from composeret_jax.serving.bundle.layout import (
  COMPOSE_FEATURES,
  COMPOSE_QUERY,
  COMPOSE_TEXTS,
  DTYPES,
  ENCODE_GALLERY,
  program_file,
)
from data_pipelines.input_error import InputError

# Calls out of a program, of which JAX answers this one itself. Others run whatever the process has under their name.
ALLOWED_CALLS = {"shape_assertion"}
CALL = re.compile(r'custom_call\s*@"?([^"\s(]*)|call_target_name\s*=\s*"([^"]*)')


# A dimension that the caller chooses.
ANY = None


Shape = tuple[str, tuple[int | None, ...]]


def read_program(folder: pathlib.Path, name: str, info: Mapping[str, Any]) -> Callable:
  """(weights, rows...) -> (features, lengths), compiled on first use.

  Raises InputError with the file for what is no program, takes or gives other arrays than `info` says, or calls
  anything outside itself.
  """
  file = folder / program_file(name)
  try:
    exported = export.deserialize(bytearray(file.read_bytes()))
    calls = {first or second for first, second in CALL.findall(exported.mlir_module())}
    found = [[_described(aval) for aval in avals] for avals in (exported.in_avals, exported.out_avals)]
  except Exception as error:  # whatever a damaged file makes its parsers run into
    reason = str(error).partition("\n")[0][:200]
    version = f"exported by jax {info['jax_version']}, cannot be read by {jax.__version__}"
    raise InputError(f"{file}, {version}: {reason or type(error).__name__}") from error
  if calls - ALLOWED_CALLS:
    raise InputError(f"{file} calls {', '.join(sorted(calls - ALLOWED_CALLS))}, expected a program that only computes")
  weights = {key: (DTYPES[array["dtype"]], tuple(array["shape"])) for key, array in info["arrays"].items()}
  rows, results = _rows_and_results(name, info)
  structure = jax.tree.structure(((dict.fromkeys(weights, 0), *(0 for _ in rows)), {}))
  expected = [[*(weights[key] for key in sorted(weights)), *rows], results]
  if (exported.in_tree, found, exported.nr_devices) != (structure, expected, 1):
    raise InputError(f"{file} takes or gives other arrays than bundle.json says")
  return jax.jit(exported.call)


def _rows_and_results(name: str, info: Mapping[str, Any]) -> tuple[list[Shape], list[Shape]]:
  """A program's inputs beside the weights, and its outputs: features and their lengths."""
  size = info["image_size"]
  pixels: Shape = "uint8", (ANY, size, size, 3)
  tokens: Shape = "int32", (ANY, ANY)
  results: list[Shape] = [("float32", (ANY, info["feature_dim"])), ("float32", (ANY,))]
  rows: dict[str, list[Shape]] = {
    ENCODE_GALLERY: [pixels],
    COMPOSE_QUERY: [pixels, tokens],
    COMPOSE_TEXTS: [tokens],
    COMPOSE_FEATURES: [*results, tokens],
  }
  return rows[name], results


def _described(aval: jax.core.ShapedArray) -> Shape:
  return np.dtype(aval.dtype).name, tuple(dim if isinstance(dim, int) else ANY for dim in aval.shape)
