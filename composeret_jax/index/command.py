"""`--mode=index`: fills an index, removes images from it, and says what was done."""

from collections.abc import Sequence
import contextlib
import time

from composeret_jax.bundle import Bundle
from composeret_jax.index.build import build
from composeret_jax.index.locations import create_index
from composeret_jax.index.protocol import Index
from composeret_jax.index.same_bundle import check_same_bundle
from composeret_jax.index.shards import check_shards, Shard
from composeret_jax.index.sources import SourceImage


def fill_index(
  bundle: Bundle,
  location: str,
  images: Sequence[SourceImage] | None,
  *,
  delete: Sequence[str] = (),
  on_bad_image: str = "fail",
  prune: bool = False,
  shard: Shard | None = None,
) -> None:
  """Removes the ids of `delete`, brings the index to `images` where they are given (`build`), and prints a summary.

  With a `shard`, other processes do so with the others at the same time. Raises InputError where they cannot.
  """
  if shard is not None:
    check_shards(location, prune=prune)
    images = None if images is None else shard.of(images)
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    check_same_bundle(index, bundle)
    if delete:
      index.delete(delete)
      print(f"Removed: {len(set(delete)):,}")
    if images is not None:
      _build(bundle, index, images, on_bad_image, prune)
    print(f"Index: {location}, {len(index):,} images")


def _build(bundle: Bundle, index: Index, images: Sequence[SourceImage], on_bad_image: str, prune: bool) -> None:
  start = time.monotonic()
  summary = build(bundle, index, images, on_bad_image=on_bad_image, prune=prune)
  rate = summary.num_encoded / (time.monotonic() - start)
  print(
    f"Encoded: {summary.num_encoded:,} ({rate:,.0f} images/s), already there: {summary.num_skipped:,}, "
    f"with a new caption or path: {summary.num_described:,}, removed because they are gone: {summary.num_removed:,}"
  )
  if summary.bad_images:
    print("\n".join([f"Left out, not readable: {len(summary.bad_images):,}", *summary.bad_images]))
