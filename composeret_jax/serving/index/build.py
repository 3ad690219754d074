"""Fills an index with images: encodes what is new or has changed, and leaves the rest."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import os
import time

import numpy as np
import tqdm

from composeret_jax.serving.bundle import Bundle
from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.index.index import check_same_bundle, Entry, Index, Rows
from composeret_jax.serving.index.locations import create_index
from composeret_jax.serving.index.sources import check_shards, Shard, SourceImage
from composeret_jax.serving.index.thumbnail import thumbnail
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image, Resizing

BATCH = 64  # encoded together; what is written are whole batches, so that a build that was killed makes the same ones
COMMIT_ROWS = 4096
COMMIT_SECONDS = 20.0  # no more work than this is lost with a killed process
NUM_READERS = 4
BAD_IMAGE = ("fail", "skip")


@dataclasses.dataclass
class Summary:
  """The counts of a build: how many images were encoded, had only their caption, path or metadata changed, were there
  already or were removed, and the messages of those that could not be read.
  """

  num_encoded: int = 0
  num_described: int = 0
  num_skipped: int = 0
  num_removed: int = 0
  bad_images: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class _New:
  """An image that was read, and whose feature the index lacks; of the others the entry is enough."""

  entry: Entry
  pixels: np.ndarray
  thumbnail: bytes


def build(
  bundle: Bundle, index: Index, images: Sequence[SourceImage], *, on_bad_image: str = "fail", prune: bool = False
) -> Summary:
  """Brings the index to these images; of others it has, it removes none, unless `prune`.

  An image is encoded unless the index has one with its id and its content. Written are whole batches, now and then: a
  build that was killed goes on there. Raises InputError with the path of an image that cannot be read, unless
  `on_bad_image` is "skip": then the index keeps its old entry, and it is listed.
  """
  check_same_bundle(index, bundle)
  known, summary = index.entries(), Summary()
  with tqdm.tqdm(total=len(images), desc="index", unit=" images") as bar:

    def good_images() -> Iterator[_New | Entry]:
      for image in _read_ahead(images, known, bundle.image_size, bundle.resizing):
        bar.update()
        if not isinstance(image, InputError):
          yield image
        elif on_bad_image == "skip":
          summary.bad_images.append(str(image))
        else:
          raise image

    _write(bundle, index, _sort_out(good_images(), index, known, summary), summary)
  if prune:
    gone = sorted(known.keys() - {image.id for image in images})
    index.delete(gone)
    summary.num_removed = len(gone)
  return summary


def _sort_out(
  images: Iterable[_New | Entry], index: Index, known: Mapping[str, Entry], summary: Summary
) -> Iterator[_New]:
  """The images that have to be encoded; images with only a new description are put back with it."""
  described = []
  for image in images:
    if isinstance(image, _New):
      yield image
    elif image == known[image.id]:
      summary.num_skipped += 1
    else:
      described.append(image)
  for start in range(0, len(described), COMMIT_ROWS):
    entries = described[start : start + COMMIT_ROWS]
    rows = index.get([entry.id for entry in entries])
    index.put(dataclasses.replace(rows, entries=entries))
  summary.num_described = len(described)


def _write(bundle: Bundle, index: Index, images: Iterator[_New], summary: Summary) -> None:
  batches, last_time = [], time.monotonic()
  for batch in iter(lambda: list(itertools.islice(images, BATCH)), []):
    features, norms = bundle.encode_with_norms(np.stack([image.pixels for image in batch]))
    batches.append(Rows([image.entry for image in batch], features, norms, [image.thumbnail for image in batch]))
    if len(batches) * BATCH >= COMMIT_ROWS or time.monotonic() - last_time > COMMIT_SECONDS:
      _commit(index, batches, summary)
      batches, last_time = [], time.monotonic()
  _commit(index, batches, summary)


def _commit(index: Index, batches: Sequence[Rows], summary: Summary) -> None:
  if batches:
    entries = [entry for rows in batches for entry in rows.entries]
    features, norms = (np.concatenate([getattr(rows, name) for rows in batches]) for name in ("features", "norms"))
    index.put(Rows(entries, features, norms, [jpeg for rows in batches for jpeg in rows.thumbnails]))
    summary.num_encoded += len(entries)


def _read_ahead(
  images: Sequence[SourceImage], known: Mapping[str, Entry], size: int, resizing: Resizing
) -> Iterator[_New | Entry | InputError]:
  """Each image in its order, or what is wrong with it; threads read the next ones meanwhile."""
  with concurrent.futures.ThreadPoolExecutor(NUM_READERS) as readers:
    pending: deque[concurrent.futures.Future[_New | Entry | InputError]] = deque()
    try:
      for image in images:
        pending.append(readers.submit(_read, image, known.get(image.id), size, resizing))
        if len(pending) > 2 * BATCH:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()
    finally:
      readers.shutdown(wait=False, cancel_futures=True)


def _read(image: SourceImage, known: Entry | None, size: int, resizing: Resizing) -> _New | Entry | InputError:
  name = image.path or image.id
  try:
    encoded = image.read()
    entry = Entry(image.id, hashlib.sha256(encoded).hexdigest(), image.caption, image.path, image.metadata)
    entry.check_text()
    if known is not None and known.sha256 == entry.sha256:
      return entry
    return _New(entry, decode_image(encoded, size, name, resizing), thumbnail(encoded, name))
  except OSError as error:
    return InputError(f"{name} cannot be read: {error.strerror}")
  except InputError as error:
    return error


def fill_index(
  bundle: Bundle,
  location: str | os.PathLike[str],
  images: Sequence[SourceImage] | None,
  *,
  delete: Sequence[str] = (),
  on_bad_image: str = "fail",
  prune: bool = False,
  shard: Shard | None = None,
  quantise: bool = False,
) -> None:
  """Removes the ids of `delete`, brings the index to `images` where they are given (`build`), and prints a summary.

  With `quantise`, or where it was once, an exact index gets 8-bit copies of its features, and their recall is printed.

  With a `shard`, other processes do so with the others at the same time. Raises InputError where they cannot.
  """
  location = os.fspath(location)
  if shard is not None:
    check_shards(location, prune=prune)
    images = None if images is None else shard.of(images)
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    check_same_bundle(index, bundle)
    if quantise and not isinstance(index, ExactIndex):
      raise InputError("--quantise is for an index in a folder: a Milvus server has its own indexes")
    if delete:
      index.delete(delete)
      print(f"Removed: {len(set(delete)):,}")
    if images is not None:
      _build(bundle, index, images, on_bad_image, prune)
    if isinstance(index, ExactIndex) and (quantise or index.is_quantised) and len(index):
      index.tidy()
      print(f"8-bit copies: recall@10 against exact search {index.quantise():.4f}")
    print(f"Index: {location}, {len(index):,} images")


def _build(bundle: Bundle, index: Index, images: Sequence[SourceImage], on_bad_image: str, prune: bool) -> None:
  start = time.monotonic()
  summary = build(bundle, index, images, on_bad_image=on_bad_image, prune=prune)
  rate = summary.num_encoded / (time.monotonic() - start)
  print(
    f"Encoded: {summary.num_encoded:,} ({rate:,.0f} images/s), already there: {summary.num_skipped:,}, "
    f"with a new caption, path or metadata: {summary.num_described:,}, "
    f"removed because they are gone: {summary.num_removed:,}"
  )
  if summary.bad_images:
    print("\n".join([f"Left out, not readable: {len(summary.bad_images):,}", *summary.bad_images]))
