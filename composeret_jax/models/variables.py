"""A model's variables as plain arrays, and calls of the model with them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx
import jax

from composeret_jax.models.encoders.projected import Frozen


class Variables(NamedTuple):
  """The variables of a model, each part a tree of plain arrays, which pass in and out of jit faster than nnx's.

  `params` are trained, `batch_stats` are the running statistics of batch norms, and `frozen` are tables of features
  that no step changes.
  """

  params: Mapping[str, Any]
  batch_stats: Mapping[str, Any]
  frozen: Mapping[str, Any]


def variables_of(model: nnx.Module) -> Variables:
  """The model's current variables."""
  return Variables(*(nnx.as_pure(nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat, Frozen)))


def in_eval_mode(model: nnx.Module, function: Callable) -> Callable:
  """Compiles `function(model, *arrays)` for models of this structure: the result takes (variables, *arrays)."""
  structure = nnx.graphdef(model)

  def call(variables, *arrays):
    merged = nnx.merge(structure, *variables, copy=True)
    merged.eval()
    return function(merged, *arrays)

  return jax.jit(call)
