"""All images of a split, decoded once: one memory-mapped array of uint8 pixels in a file.

Processes decode chunks of images into a partial file, and tick each chunk off in a second file once its pixels are on
the disk, with their checksum in a third. The partial file takes its final name when all are: a build that was killed
goes on where it stopped.
"""

from collections.abc import Iterator, Sequence
import concurrent.futures.process
import dataclasses
import functools
import hashlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import zlib

from jaxtyping import Int, UInt8
import numpy as np
import tqdm

from data_pipelines.files import open_whole, to_disk, write_whole
from data_pipelines.input_error import InputError
from data_pipelines.locks import one_at_a_time
from data_pipelines.pixels.decode import CENTRE, decode_image, DECODER_VERSION, Resizing
from data_pipelines.pixels.reused_buffers import ReusedBuffers
from data_pipelines.tables import encoded_at, ImageTable
from data_pipelines.worker_processes import ended_early, leave_with_parent, starting_deaf_to

CHUNK = 64  # images decoded and ticked off together
MAX_CHECKED = 32  # chunks whose checksums are compared when a store is opened: at 224 pixels, 0.3 GB
CRC = np.dtype("<u4")


@dataclasses.dataclass(frozen=True)
class PixelStore:
  """The pixels of a finished store, by row or by an array of rows. Sent to another process, it opens its file there.

  The name of its file, `path`, is another one for other images, another size and another way of decoding.
  """

  path: pathlib.Path

  def __reduce__(self):
    return PixelStore, (self.path,)

  @functools.cached_property
  def array(self) -> UInt8[np.ndarray, "num size size 3"]:
    """The whole array; read from the disk where it is touched."""
    return np.asarray(np.load(self.path, mmap_mode="r"))

  @functools.cached_property
  def _buffers(self) -> ReusedBuffers:
    return ReusedBuffers(self.array.shape[1:], self.array.dtype)

  def __len__(self) -> int:
    return len(self.array)

  def __getitem__(self, rows: int | Int[np.ndarray, " num"]) -> UInt8[np.ndarray, "... size size 3"]:
    """Pixels that are the caller's own as long as they are referred to; raises IndexError for rows that are not there.

    A batch is gathered twice as fast into memory that an earlier batch has left.
    """
    if not isinstance(rows, np.ndarray) or not len(rows):
      return self.array[rows]
    if rows.min() < 0 or rows.max() >= len(self):
      raise IndexError(f"{self.path} has {len(self):,} images, and was asked for rows {rows.min()} to {rows.max()}")
    return self.array.take(rows, axis=0, out=self._buffers.take(len(rows)), mode="clip")  # "raise" would copy twice


def open_store(
  images: ImageTable,
  size: int,
  folder: pathlib.Path,
  *,
  split: str,
  source: str,
  num_workers: int,
  resizing: Resizing = CENTRE,
) -> PixelStore:
  """The store of `images` at `size` pixels in `folder`, built by `num_workers` processes (0: by this one) if missing.

  `split` and `source` (what the images were prepared from) tell its images from others of the same names. A process
  that comes while another builds it waits. Raises InputError with an image's name when it cannot be decoded; what
  was decoded before is kept. Raises InputError too when the disk has no room for it.
  """
  fingerprint = hashlib.sha256("\0".join([source, str(DECODER_VERSION), *images.names]).encode()).hexdigest()[:8]
  how = "" if resizing == CENTRE else f"{resizing.resize}-{resizing.interpolation}-"
  path = folder / f"{split}-{size}-{how}{fingerprint}.npy"
  if not path.exists():
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(path.with_suffix(".lock")):
      if not path.exists():
        _build(images, size, resizing, path, num_workers)
  _check(path, (len(images), size, size, 3))
  return PixelStore(path)


def _check(path: pathlib.Path, shape: tuple[int, ...]) -> None:
  """Raises InputError for a store that was cut, or whose chunks, some of which are read, have other checksums."""
  try:
    array = np.load(path, mmap_mode="r")
    if array.shape != shape or array.dtype != np.uint8:
      raise ValueError(f"it holds {array.dtype} {list(array.shape)}, expected uint8 {list(shape)}")
    sums = path.with_suffix(".sums")
    expected = np.fromfile(sums, CRC) if sums.exists() else np.zeros(0, CRC)
    if len(expected) not in (0, -(-len(array) // CHUNK)):
      raise ValueError(f"{sums} has {len(expected)} checksums")
    for chunk in np.unique(np.linspace(0, len(expected) - 1, MAX_CHECKED, dtype=int)) if len(expected) else ():
      if zlib.crc32(array[chunk * CHUNK : (chunk + 1) * CHUNK]) != expected[chunk]:
        raise ValueError(f"the pixels from image {chunk * CHUNK} on are not those that were written")
  except OSError as error:
    raise InputError(f"{path} cannot be read: {error.strerror}") from error
  except (EOFError, ValueError) as error:
    raise InputError(f"{path} is damaged: {error}. Delete it, and the images are decoded again") from error


def _build(images: ImageTable, size: int, resizing: Resizing, path: pathlib.Path, num_workers: int) -> None:
  partial, ticks = path.with_suffix(".partial"), path.with_suffix(".ticks")
  num_chunks = -(-len(images) // CHUNK)
  if not (partial.exists() and path.with_suffix(".sums").exists()):
    _create(partial, ticks, (len(images), size, size, 3), num_chunks)
  missing = np.flatnonzero(np.fromfile(ticks, np.uint8) == 0).tolist()
  done = len(images) - sum(min(CHUNK, len(images) - chunk * CHUNK) for chunk in missing)
  with tqdm.tqdm(desc=f"decode {path.stem}", unit=" images", total=len(images), initial=done) as bar:
    for count in _decode_chunks(images, missing, (size, resizing), partial, ticks, num_workers):
      bar.update(count)
  os.replace(partial, path)
  to_disk(path.parent)
  ticks.unlink()


def _create(partial: pathlib.Path, ticks: pathlib.Path, shape: tuple[int, ...], num_chunks: int) -> None:
  """An array of zeros, no chunk of it ticked off; the partial file comes last, whole, so that it has its ticks."""
  room = shutil.disk_usage(partial.parent).free
  if room < np.prod(shape):
    raise InputError(
      f"{partial.parent} has {room / 1e9:.1f} GB free, the decoded images need {np.prod(shape) / 1e9:.1f} GB: make "
      "room, choose another data.prepared_dir, or decode as training goes with --config.data.pixels=decode"
    )
  write_whole(partial.with_suffix(".sums"), bytes(num_chunks * CRC.itemsize))
  write_whole(ticks, bytes(num_chunks))
  with open_whole(partial) as stream:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    stream.truncate(stream.tell() + int(np.prod(shape)))


def _decode_chunks(
  images: ImageTable,
  chunks: Sequence[int],
  shape: tuple[int, Resizing],
  partial: pathlib.Path,
  ticks: pathlib.Path,
  num_workers: int,
) -> Iterator[int]:
  """Decodes the chunks and yields the number of images as each is done; no more are read than processes can take."""

  def job(chunk: int) -> tuple:
    rows = range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(images)))
    return encoded_at(images.encoded, rows), [images.names[row] for row in rows], chunk, shape, partial, ticks

  if not num_workers:
    yield from (_decode_chunk(*job(chunk)) for chunk in chunks)
    return
  # Not forked: this process may have threads, as JAX's.
  spawn = multiprocessing.get_context("spawn")
  try:
    with concurrent.futures.ProcessPoolExecutor(num_workers, spawn, leave_with_parent) as pool:
      running: set[concurrent.futures.Future] = set()
      for chunk in chunks:
        if len(running) > num_workers:
          done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
          yield from (future.result() for future in done)
        with starting_deaf_to(signal.SIGINT):  # not to SIGTERM, by which the pool ends them
          running.add(pool.submit(_decode_chunk, *job(chunk)))
      yield from (future.result() for future in concurrent.futures.as_completed(running))
  except concurrent.futures.process.BrokenProcessPool as error:
    raise ended_early("killed, or as it started") from error


def _decode_chunk(
  encoded: Sequence[bytes],
  names: Sequence[str],
  chunk: int,
  shape: tuple[int, Resizing],
  partial: pathlib.Path,
  ticks: pathlib.Path,
) -> int:
  """Puts the chunk's pixels and checksum into their files, then ticks it off; returns the number of images."""
  size, resizing = shape
  pixels = np.stack([decode_image(image, size, name, resizing) for image, name in zip(encoded, names, strict=True)])
  np.load(partial, mmap_mode="r+")[chunk * CHUNK :][: len(pixels)] = pixels
  to_disk(partial)
  with partial.with_suffix(".sums").open("r+b") as file:
    file.seek(chunk * CRC.itemsize)
    file.write(zlib.crc32(pixels.data).to_bytes(CRC.itemsize, "little"))
    file.flush()
    os.fsync(file.fileno())
  with ticks.open("r+b") as file:
    file.seek(chunk)
    file.write(b"\1")
  return len(pixels)
