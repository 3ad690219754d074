"""Functions with some arguments given, of which JAX knows that they are the same."""

from collections.abc import Callable, Hashable
import functools


@functools.cache
def bound(function: Callable, *last: Hashable) -> Callable:
  """`function` of the arrays before `last`; equal arguments give one and the same object.

  JAX keeps the trace of a platform's branch, and its gradient's, by the object: layers of one shape are traced once.
  """
  return lambda *arrays: function(*arrays, *last)
