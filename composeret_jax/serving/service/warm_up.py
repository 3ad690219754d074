"""Compiles what searches need, before anybody waits for it."""

from collections.abc import Iterator
import os
import pathlib

import jax
import numpy as np

from composeret_jax.serving.bundle.bundle import BATCH_SIZES
from composeret_jax.serving.searcher import Searcher

LENGTHS = (8, 16)  # of texts, in tokens; a longer one is compiled for when it comes
WIDTHS = (25, 50, 100, 200, 400, 1_000)  # of lists of results, as pages of them are asked for


def keep_compiled() -> None:
  """Keeps compiled programs in this user's cache, for the next start and for other processes that serve."""
  cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
  jax.config.update("jax_compilation_cache_dir", str(cache / "composeret_jax" / "compiled"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def warm_up(searcher: Searcher) -> Iterator[int]:
  """Runs each program for each size of batch, and the search for each length of list; yields the sizes that are ready.

  After the first one, single searches wait for no compilation.
  """
  word = known_word(searcher)
  prepare(searcher)
  for size in BATCH_SIZES:
    black = np.zeros((*(searcher.bundle.image_size,) * 2, 3), np.uint8)
    queries = searcher.from_images([black] * size)
    for length in LENGTHS if word else ():
      text = " ".join([word] * (length // 2 + 1))
      searcher.bundle.text_only([text] * size)
      searcher.refine_many(queries, [text] * size)
    for width in WIDTHS if size == 1 else WIDTHS[:1]:
      searcher.index.search(np.stack([query.feature for query in queries]), width)
    yield size


def prepare(searcher: Searcher) -> None:
  """Builds what an index needs to answer: its features on the device, the words of its captions, its columns."""
  index = searcher.index
  index.search(np.zeros((1, index.feature_dim), np.float32), WIDTHS[0])
  index.unfound("warm")
  index.browse(1)
  index.columns()


def known_word(searcher: Searcher) -> str:
  """A word that the model knows, of the examples or of the captions; "" where none of those is."""
  examples = searcher.bundle.info.get("example_texts", [])
  captions = [result.caption for result in searcher.results(searcher.index.browse(20)).values()]
  words = (word for text in (*examples, *captions, "red a") for word in text.split())
  return next((word for word in words if not searcher.bundle.unknown_words(word)), "")
