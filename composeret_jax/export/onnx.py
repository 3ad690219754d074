"""A bundle's programs as ONNX files, each checked under onnxruntime before it stays."""

from collections.abc import Callable, Mapping, Sequence
import importlib.util
import logging
import pathlib
import traceback
from typing import Any

from flax import nnx
import jax
from jax.extend import core
import jax.numpy as jnp
import numpy as np

from composeret_jax.export.programs import Program
from composeret_jax.serving.bundle.layout import (
  COMPOSE_FEATURES,
  COMPOSE_QUERY,
  COMPOSE_TEXTS,
  ENCODE_GALLERY,
  onnx_file,
)
from data_pipelines.input_error import InputError


def evaluated(closed: core.ClosedJaxpr, *inputs: jax.typing.ArrayLike) -> list[jax.Array]:
  """The outputs of the traced program for `inputs`, with RULES in place of the operations that they name."""
  values = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
  values |= zip(closed.jaxpr.invars, inputs, strict=True)

  def read(atom):
    return atom.val if isinstance(atom, core.Literal) else values[atom]

  for equation in closed.jaxpr.eqns:
    rule = RULES.get(equation.primitive.name, _unchanged)
    values |= zip(equation.outvars, rule(equation, *map(read, equation.invars)), strict=True)
  return [read(atom) for atom in closed.jaxpr.outvars]


def _unchanged(equation, *inputs):
  outputs = equation.primitive.bind(*inputs, **equation.params)
  return outputs if equation.primitive.multiple_results else [outputs]


def _branch(equation, index, *inputs):
  if not isinstance(index, int):  # it depends on the inputs
    return _unchanged(equation, index, *inputs)
  return evaluated(equation.params["branches"][index], *inputs)


def _max_pool(equation, maps):
  """Pools NHWC maps. jax2onnx makes four-dimensional pools of the primitive, which onnxruntime has not."""
  sizes, strides = equation.params["window_dimensions"], equation.params["window_strides"]
  padded = _padded(maps, -np.inf, equation.params["padding"])
  return [nnx.max_pool(padded, window_shape=sizes[1:-1], strides=strides[1:-1], padding="VALID")]


def _padded(array, value, widths: Sequence[tuple[int, int]]):
  """jax2onnx pads no array with an open size; `evaluated`'s programs have no gaps between elements."""
  for axis, (before, after) in enumerate(widths):
    first, last = (
      [jax.lax.full((*array.shape[:axis], width, *array.shape[axis + 1 :]), value, array.dtype)] if width else []
      for width in (before, after)
    )
    array = jax.lax.concatenate([*first, array, *last], axis)
  return array


RULES: dict[str, Callable] = {
  # The number of the branch for a platform that none of the others names.
  "platform_index": lambda equation: [next(i for i, names in enumerate(equation.params["platforms"]) if names is None)],
  "cond": _branch,
  "jit": lambda equation, *inputs: evaluated(equation.params["jaxpr"], *inputs),
  "custom_jvp_call": lambda equation, *inputs: evaluated(equation.params["call_jaxpr"], *inputs),
  "custom_vjp_call": lambda equation, *inputs: evaluated(equation.params["call_jaxpr"], *inputs),
  "reduce_window_max": _max_pool,
  "pad": lambda equation, array, value: [
    _padded(array, value, [(int(before), int(after)) for before, after, _ in equation.params["padding_config"]])
  ],
  "stack": lambda equation, *inputs: [
    jax.lax.concatenate(
      [jax.lax.expand_dims(array, [equation.params["axis"]]) for array in inputs], equation.params["axis"]
    )
  ],
}


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
  arrays = {name: jnp.asarray(array) for name, array in weights.items()}
  features, norms = jax.jit(programs[ENCODE_GALLERY])(arrays, pixels)
  rows = {"pixels": pixels, "tokens": tokens, "reference_features": features, "reference_norms": norms}
  for name, program in programs.items():
    file = folder / onnx_file(name)
    file.write_bytes(convert(name, program, arrays, shapes[name]))
    inputs = {field: np.asarray(rows[field]) for field in INPUTS[name]}
    for count in (len(pixels), 1):
      _check(name, file, program, arrays, {field: array[:count] for field, array in inputs.items()})


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
  local: list[Any] = [frame.f_locals.get("eqn") for frame, _ in traceback.walk_tb(error.__traceback__)]
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
