"""Where an index is: a folder, or a collection in Milvus."""

import os
import pathlib

from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.index.index import Index

MILVUS = "milvus:"


def open_index(location: str | os.PathLike) -> Index:
  """The index in a folder, in milvus:FILE.db or at milvus:http://HOST:PORT; raises InputError when there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().open(str(location).removeprefix(MILVUS))
  return ExactIndex.open(pathlib.Path(location))


def create_index(location: str | os.PathLike, fingerprint: str, feature_dim: int) -> Index:
  """`open_index`, to write; begins an empty index for this bundle where there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().create(str(location).removeprefix(MILVUS), fingerprint, feature_dim)
  return ExactIndex.create(pathlib.Path(location), fingerprint, feature_dim)


def _milvus():
  from composeret_jax.serving.index.milvus import MilvusIndex  # its client is not there where nobody asked for it

  return MilvusIndex
