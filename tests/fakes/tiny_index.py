"""Indexes of random features, and what is compared of two of them."""

import contextlib
import importlib.util

import numpy as np
import pytest

from composeret_jax.serving.index import create_index, Entry, Rows
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import folder_images
from tests.fakes.fake_bundle import DIM, fake_bundle

needs_milvus = pytest.mark.skipif(
  not (importlib.util.find_spec("pymilvus") and importlib.util.find_spec("milvus_lite")),
  reason="pymilvus and milvus-lite are not installed (the extra milvus)",
)


def rows(ids, features=None, seed=0):
  rng = np.random.default_rng(seed)
  features = rng.standard_normal((len(ids), DIM)) if features is None else features
  features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
  norms = rng.uniform(1, 2, len(ids)).astype(np.float32)
  entries = [Entry(id, sha256=f"{seed}", caption=f"caption of {id}", path=f"/images/{id}") for id in ids]
  return Rows(entries, features, norms, [f"jpeg {seed} {id}".encode() for id in ids])


def new_index(location, num=0):
  index = create_index(location, "a" * 64, DIM)
  if num:
    index.put(rows([f"{i:03d}" for i in range(num)]))
  return index


def content(index):
  """Everything that an index holds and finds, to be compared."""
  ids = sorted(index.entries())
  kept = index.get(ids)
  found = index.search(kept.features, 5)
  return ids, list(kept.entries), kept.features.tobytes(), kept.norms.tobytes(), list(kept.thumbnails), found


def assert_same_images(index, other):
  """The same images, whose features may come from batches of another size."""
  ids = sorted(index.entries())
  assert ids == sorted(other.entries())
  kept, others = index.get(ids), other.get(ids)
  assert list(kept.entries) == list(others.entries)
  assert list(kept.thumbnails) == list(others.thumbnails)
  np.testing.assert_allclose(kept.features, others.features, atol=1e-6)
  np.testing.assert_allclose(kept.norms, others.norms, rtol=1e-6)


def fill(folder, location, bundle=None, **options):
  bundle = bundle or fake_bundle()
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  with contextlib.closing(index):
    return build(bundle, index, folder_images(folder), **options)
