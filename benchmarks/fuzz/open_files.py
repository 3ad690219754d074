"""A process that opens bundles and indexes with something wrong in them: __main__.py's first half."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import multiprocessing
import pathlib
import random
import resource
import tempfile
import traceback

import jax
import numpy as np

from benchmarks.fuzz.hostile_files import CASES
from composeret_jax.serving.bundle import load
from composeret_jax.serving.bundle.inputs import TokenBatches
from composeret_jax.serving.bundle.layout import TEXT_FILES, WORD_PIECES
from composeret_jax.serving.index import open_index
from composeret_jax.serving.index.thumbnail import open_thumbnail
from data_pipelines.input_error import InputError
from data_pipelines.texts.wordpieces import WordPieces

MORE_MEMORY = 3_000_000_000  # bytes of addresses that opening one may take beyond the process itself
SECONDS = 120  # for one
LONGEST_MESSAGE = 1_000


def use_bundle(folder: pathlib.Path) -> None:
  """Opens it, and asks everything of it once."""
  bundle = load(folder)
  images, texts = [np.zeros((9, 9, 3), np.uint8)], ["dark old"]
  features, norms = bundle.encode_with_norms(images)
  answers = [features, bundle.compose(images, texts), bundle.text_only(texts)]
  if bundle.composes_features:
    answers.append(bundle.compose_features(features, texts, norms))
  for answer in answers:
    assert answer.shape == (1, bundle.feature_dim) and np.isfinite(answer).all()


def use_index(folder: pathlib.Path) -> None:
  """Opens it, and asks everything of it once."""
  index = open_index(folder)
  query = np.full((1, index.feature_dim), index.feature_dim**-0.5, np.float32)
  (found,) = index.search(query, 5)
  rows = index.get([*(id for id, _ in found), *index.find("a", 5)])
  for entry, thumbnail in zip(rows.entries, rows.thumbnails, strict=True):
    open_thumbnail(thumbnail, entry.id)
  assert all(np.isfinite(score) for _, score in found)


def use_tokenizer(folder: pathlib.Path) -> None:
  """Opens it, and reads texts that cost a bad one much."""
  file = folder / TEXT_FILES[WORD_PIECES]
  if file.exists():  # not beside the unchanged bundle, which may have words
    tokens = TokenBatches(WordPieces.from_file(file, 64), 64)
    assert tokens(["dark old", "a" * 500 + "!", "", "\0 " * 200]).shape[1] <= 64


USES: Mapping[str, Callable[[pathlib.Path], None]] = {
  "bundle": use_bundle,
  "index": use_index,
  "tokenizer": use_tokenizer,
}


def _open_all(connection, kind: str, original: pathlib.Path) -> None:
  """The process: folders come in, what became of each goes out."""
  # Programs that nobody changed are compiled once.
  jax.config.update("jax_compilation_cache_dir", str(original.parent / "compilation_cache"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  USES[kind](original)
  used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY,) * 2)
  connection.send("ready")
  for folder in iter(connection.recv, None):
    connection.send(_outcome(kind, folder))


def _outcome(kind: str, folder: pathlib.Path) -> str:
  try:
    USES[kind](folder)
  except InputError as error:
    return "refused" if len(str(error)) <= LONGEST_MESSAGE else f"FINDING: a message of {len(str(error)):,} characters"
  except BaseException:
    return f"FINDING: {traceback.format_exc(limit=-4)}"
  return "opened"


class Opener:
  """A process that opens cases one after the other, and another one when it has died of one."""

  def __init__(self, kind: str, original: pathlib.Path):
    self._arguments = kind, original
    self._start()

  def _start(self) -> None:
    spawn = multiprocessing.get_context("spawn")
    self._connection, theirs = spawn.Pipe()
    self._process = spawn.Process(target=_open_all, args=(theirs, *self._arguments), daemon=True)
    self._process.start()
    theirs.close()
    self._connection.recv()

  def __call__(self, folder: pathlib.Path) -> str:
    """`refused`, `opened`, or a finding."""
    self._connection.send(folder)
    with contextlib.suppress(EOFError, ConnectionError):
      if self._connection.poll(SECONDS):
        return self._connection.recv()
    self.close()
    code = self._process.exitcode
    self._start()
    return f"FINDING: it hung, or crashed with {code}"

  def close(self) -> None:
    """Ends the process."""
    self._process.kill()
    self._process.join()


def try_files(kind: str, original: pathlib.Path, seed: int, go_on: Callable[[int], bool]) -> Iterator[Sequence[str]]:
  """(what was changed, what became of it) while `go_on(number)`; case by case a function of the seed."""
  opener = Opener(kind, original)
  try:
    number = 0
    while go_on(number):
      rng = random.Random(f"{seed} {kind} {number}")
      with tempfile.TemporaryDirectory() as parent:
        folder = pathlib.Path(parent) / kind
        what = CASES[kind](rng, original, folder)
        yield f"{kind}, {what}", opener(folder)
      number += 1
  finally:
    opener.close()
