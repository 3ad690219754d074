"""Where an index is: a folder, or a collection in Milvus."""

import os

from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.index.index import Index
from data_pipelines.paths import local_path

MILVUS = "milvus:"


def open_index(location: str | os.PathLike) -> Index:
  """The index in a folder, in milvus:FILE.db or at milvus:http://HOST:PORT; raises InputError when there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().open(str(location).removeprefix(MILVUS))
  return ExactIndex.open(local_path(location, "--index"))


def create_index(location: str | os.PathLike, fingerprint: str, feature_dim: int) -> Index:
  """`open_index`, to write; begins an empty index for this bundle where there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().create(str(location).removeprefix(MILVUS), fingerprint, feature_dim)
  return ExactIndex.create(local_path(location, "--index"), fingerprint, feature_dim)


def _milvus():
  from composeret_jax.serving.index.milvus import MilvusIndex  # its client is not there where nobody asked for it

  return MilvusIndex
