"""Locations of indexes: a folder, or a collection in Milvus."""

import os
import pathlib

from composeret_jax.serving.index.exact import ExactIndex
from composeret_jax.serving.index.index import Index
from data_pipelines.paths import local_path

MILVUS = "milvus:"
SERVERS = ("http://", "https://", "tcp://")


def open_index(location: str | os.PathLike) -> Index:
  """The index in a folder, in milvus:FILE.db or at milvus:http://HOST:PORT; raises InputError when there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().open(_address(location))
  return ExactIndex.open(local_path(location, "--index"))


def create_index(location: str | os.PathLike, fingerprint: str, feature_dim: int) -> Index:
  """`open_index`, to write; begins an empty index for this bundle where there is none."""
  if str(location).startswith(MILVUS):
    return _milvus().create(_address(location), fingerprint, feature_dim)
  return ExactIndex.create(local_path(location, "--index"), fingerprint, feature_dim)


def local_index(location: str | os.PathLike) -> pathlib.Path | None:
  """The folder or file of an index; None where a server has it. Raises InputError for another address."""
  path = str(location).removeprefix(MILVUS)
  return None if path.startswith(SERVERS) and str(location).startswith(MILVUS) else local_path(path, "--index")


def _address(location: str | os.PathLike) -> str:
  return str(local_index(location) or str(location).removeprefix(MILVUS))


def _milvus():
  from composeret_jax.serving.index.milvus import MilvusIndex  # its client is not there where nobody asked for it

  return MilvusIndex
