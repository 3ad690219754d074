"""Composed image retrieval in JAX: a reference image and a sentence in, the image that the sentence asks for out.

`Searcher`, `Query` and `Result` are here by name; they are imported when they are asked for, as nothing else may be.
"""

_SEARCH = ("Query", "Result", "Searcher")


def __getattr__(name: str):
  if name not in _SEARCH:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  from composeret_jax import searcher

  return getattr(searcher, name)
