"""Composed image retrieval in JAX: a reference image and a sentence in, the image that the sentence asks for out.

`Searcher`, `Query`, `Result`, `Bundle` and `load_bundle` are here by name. Each is imported when it is first asked for:
`import composeret_jax` alone imports nothing else.
"""

import importlib

__version__ = "0.1.0"

_FACE = {
  "Bundle": ("composeret_jax.serving.bundle", "Bundle"),
  "Query": ("composeret_jax.serving.searcher", "Query"),
  "Result": ("composeret_jax.serving.searcher", "Result"),
  "Searcher": ("composeret_jax.serving.searcher", "Searcher"),
  "load_bundle": ("composeret_jax.serving.bundle", "load"),
}


def __getattr__(name: str):
  if name not in _FACE:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  module, attribute = _FACE[name]
  return getattr(importlib.import_module(module), attribute)
