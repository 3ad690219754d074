"""The arrays of a checkpoint by name, without the structure that they were saved from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore

from data_pipelines.buckets.addresses import AnyPath, kvstore


def saved_names(folder: AnyPath) -> set[str]:
  """The entries of the table that Orbax keeps in `folder`, an item of a checkpoint: some for each array."""
  return {name.decode() for name in tensorstore.KvStore.open(_table(folder)).result().list().result()}


def saved_arrays(folder: AnyPath, prefix: str) -> Mapping[str, np.ndarray]:
  """The arrays whose names begin with `prefix`, by what follows: "image_encoder.head.kernel"."""
  ends = {name.removesuffix("/.zarray") for name in saved_names(folder) if name.endswith("/.zarray")}
  return {name.removeprefix(prefix): _read(folder, name) for name in sorted(ends) if name.startswith(prefix)}


def _read(folder: AnyPath, name: str) -> np.ndarray:
  store = {"driver": "zarr", "kvstore": {**_table(folder), "path": f"{name}/"}}
  return tensorstore.open(store, read=True, open=True).result().read().result()


def _table(folder: AnyPath) -> dict[str, Any]:
  return {"driver": "ocdbt", "base": kvstore(folder)}
