"""How many floating-point operations a program does, by XLA's cost analysis."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, JaxprEqn


def program_flops(function: Callable, *args) -> float:
  """The operations of `function(*args)` on the whole of its arguments, however many devices may share the work.

  `args` are trees of arrays, of which only shapes and dtypes are read. Nothing is compiled. 0 where the device's
  compiler has no cost analysis.
  """
  leaves, structure = jax.tree.flatten(args)
  shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in leaves]  # without their placement
  return _flops(jax.make_jaxpr(lambda *leaves: function(*jax.tree.unflatten(structure, leaves)))(*shapes))


def _flops(program: ClosedJaxpr) -> float:
  """XLA counts a loop's body once for all iterations; here it counts for each."""
  loops = sum(length * _flops(body) - copies * _counted_by_xla(body) for length, copies, body in _loops(program.jaxpr))
  return _counted_by_xla(program) + loops


def _counted_by_xla(program: ClosedJaxpr) -> float:
  shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in program.in_avals]
  analysis = jax.jit(jaxpr_as_fun(program)).lower(*shapes).cost_analysis()
  return (analysis or {}).get("flops", 0.0)


def _loops(program: Jaxpr) -> Iterator[tuple[int, int, ClosedJaxpr]]:
  """The outermost scans: iterations, iterations in one turn of XLA's loop, and body."""
  for equation in program.eqns:
    if equation.primitive.name == "scan":
      yield equation.params["length"], equation.params["unroll"], equation.params["jaxpr"]
      continue
    for part in _parts(equation):
      if isinstance(part, ClosedJaxpr):
        yield from _loops(part.jaxpr)
      elif isinstance(part, Jaxpr):
        yield from _loops(part)


def _parts(equation: JaxprEqn) -> list[Any]:
  """All its parameters, programs among them; of a choice by platform the branch that runs here alone, as XLA has it."""
  platforms = equation.params.get("branches_platforms")
  if not platforms:
    return jax.tree.leaves(list(equation.params.values()))
  pairs = zip(platforms, equation.params["branches"], strict=True)
  return [next(branch for names, branch in pairs if names is None or jax.default_backend() in names)]
