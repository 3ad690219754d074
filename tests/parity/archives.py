"""Unpacks the real data from the folder that COMPOSERET_DATA names."""

import os
import pathlib
import tarfile

import pytest


def unpack(name: str, target: pathlib.Path) -> pathlib.Path:
  """The folder that `<COMPOSERET_DATA>/<name>.tar.gz` holds, under `target`; skips the test when it is not there."""
  with tarfile.open(file(f"{name}.tar.gz")) as archive:
    archive.extractall(target, filter="data")
  (root,) = target.iterdir()
  return root


def file(name: str) -> pathlib.Path:
  """`<COMPOSERET_DATA>/<name>`; skips the test when it is not there."""
  folder = os.environ.get("COMPOSERET_DATA")
  if not folder:
    pytest.skip("COMPOSERET_DATA is not set: no real data to read")
  path = pathlib.Path(folder) / name
  if not path.exists():
    pytest.skip(f"{path} is not there")
  return path
