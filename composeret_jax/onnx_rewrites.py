"""A traced program in the operations that jax2onnx converts rightly, at sizes that are left open.

jax2onnx replaces functions of jax and flax while it traces: a max-pool loses its padding by that, without a word. So a
program is traced beforehand, by jax alone, and these rules give its operations to jax2onnx one by one.
"""

from collections.abc import Callable, Sequence

from flax import nnx
import jax
from jax.extend import core
import numpy as np


def evaluated(closed: core.ClosedJaxpr, *inputs: jax.typing.ArrayLike) -> list[jax.Array]:
  """What the traced program gives for `inputs`, with RULES in place of the operations that they name."""
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


def _platform(equation):
  """The number of the branch for a platform that none of the others names."""
  return [next(i for i, names in enumerate(equation.params["platforms"]) if names is None)]


def _branch(equation, index, *inputs):
  if not isinstance(index, int):  # it depends on the inputs
    return _unchanged(equation, index, *inputs)
  return evaluated(equation.params["branches"][index], *inputs)


def _inlined(equation, *inputs):
  return evaluated(equation.params["jaxpr"], *inputs)


def _custom_derivative(equation, *inputs):
  return evaluated(equation.params["call_jaxpr"], *inputs)


def _max_pool(equation, maps):
  """Of NHWC maps. jax2onnx makes four-dimensional pools of the primitive, which onnxruntime has not."""
  sizes, strides = equation.params["window_dimensions"], equation.params["window_strides"]
  padded = _padded(maps, -np.inf, equation.params["padding"])
  return [nnx.max_pool(padded, window_shape=sizes[1:-1], strides=strides[1:-1], padding="VALID")]


def _pad(equation, array, value):
  """jax2onnx pads no array with an open size; `evaluated`'s programs have no gaps between elements."""
  return [_padded(array, value, [(int(before), int(after)) for before, after, _ in equation.params["padding_config"]])]


def _padded(array, value, widths: Sequence[tuple[int, int]]):
  for axis, (before, after) in enumerate(widths):
    sides = [_filled(array, value, axis, width) for width in (before, after)]
    array = jax.lax.concatenate([part for part in (sides[0], array, sides[1]) if part is not None], axis)
  return array


def _filled(array, value, axis: int, width: int):
  if not width:
    return None
  return jax.lax.full((*array.shape[:axis], width, *array.shape[axis + 1 :]), value, array.dtype)


def _stack(equation, *inputs):
  axis = equation.params["axis"]
  return [jax.lax.concatenate([jax.lax.expand_dims(array, [axis]) for array in inputs], axis)]


RULES: dict[str, Callable] = {
  "platform_index": _platform,
  "cond": _branch,
  "jit": _inlined,
  "custom_jvp_call": _custom_derivative,
  "custom_vjp_call": _custom_derivative,
  "reduce_window_max": _max_pool,
  "pad": _pad,
  "stack": _stack,
}
