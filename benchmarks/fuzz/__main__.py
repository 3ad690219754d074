"""Bundles, indexes and the page in the hands of somebody who means harm.

`python -m benchmarks.fuzz --bundle=bundles/shapes --index=indexes/shapes --minutes=10` changes copies of the bundle and
of the index, mostly with checksums and sizes that are right again, writes tokenizers that ask for too much, and opens
them: the outcome is an answer or an InputError, in bounded memory. Then it serves the page in a process of its own and
sends it requests of many kinds: no answer says anything of the server, errors are short and none is unforeseen, and a
good search is answered after each. Prints a table of the tries; exits with 1 when something was found. `--seed` makes
the same cases again.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
import functools
import pathlib
import sys
import time

from absl import app, flags

from benchmarks.fuzz.open_files import try_files
from benchmarks.fuzz.served_page import try_page
from composeret_jax.serving.index import open_index

SHARES = {"bundle": 0.35, "index": 0.1, "tokenizer": 0.05, "page": 0.5}  # of the time
FINDING = "FINDING: "


def until(seconds: float) -> Callable[[int], bool]:
  """Whether a case is to be tried, for so long from the first one on."""
  clock = functools.cache(lambda: time.monotonic() + seconds)  # when it ends
  return lambda _: time.monotonic() < clock()


def outcomes(
  bundle: pathlib.Path, index: pathlib.Path, seed: int, go_on: Callable[[str], Callable[[int], bool]]
) -> Iterator[Sequence[str]]:
  """(what was tried, what became of it), the bundle's first; `go_on(part)(number)` says how far each part goes."""
  yield from try_files("bundle", bundle, seed, go_on("bundle"))
  yield from try_files("index", index, seed, go_on("index"))
  yield from try_files("tokenizer", bundle, seed, go_on("tokenizer"))
  id = next(iter(open_index(index).entries()))
  yield from try_page(bundle, index, id, seed, go_on("page"))


def table(tried: Sequence[Sequence[str]]) -> str:
  """How often each was tried, and what became of it."""
  counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
  for what, outcome in tried:
    counts[what]["finding" if outcome.startswith(FINDING) else outcome] += 1
  lines = ["| tried | times | what became of it |", "| --- | --- | --- |"]
  for what, found in sorted(counts.items()):
    lines.append(f"| {what} | {found.total():,} | {', '.join(f'{name} {n:,}' for name, n in found.most_common())} |")
  return "\n".join(lines)


def findings(tried: Sequence[Sequence[str]]) -> list[str]:
  """Each once, with what it was of."""
  found = [f"{what}: {outcome.removeprefix(FINDING)}" for what, outcome in tried if outcome.startswith(FINDING)]
  return list(dict.fromkeys(found))


def main(_) -> None:
  """Tries, prints the table and what was found."""
  seconds = 60 * flags.FLAGS.minutes
  bundle, index = (pathlib.Path(path).resolve() for path in (flags.FLAGS.bundle, flags.FLAGS.index))
  tried = list(outcomes(bundle, index, flags.FLAGS.seed, lambda part: until(SHARES[part] * seconds)))
  print(table(tried))
  found = findings(tried)
  print("\n".join(["", *found]) if found else "\nNothing was found.")
  sys.exit(bool(found))


def define_flags() -> None:
  """Defines the flags only where this is the program: another benchmark may have flags of the same names."""
  flags.DEFINE_string("bundle", None, "A bundle's folder.", required=True)
  flags.DEFINE_string("index", None, "The folder of an index that the bundle made.", required=True)
  flags.DEFINE_float("minutes", 10.0, "For all of it.", lower_bound=0.0)
  flags.DEFINE_integer("seed", 0, "Of the cases.")


if __name__ == "__main__":
  define_flags()
  app.run(main)
