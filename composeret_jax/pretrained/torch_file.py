"""Files that torch.save writes, read without PyTorch and without running what they pickle."""

import collections
from collections.abc import Callable
import io
import math
import pathlib
import pickle
from typing import Any, NamedTuple
import zipfile

import ml_dtypes
import numpy as np

from data_pipelines.input_error import InputError

# What their storages' classes are called, and the little-endian numbers that they hold.
STORAGES = {
  "DoubleStorage": np.dtype("<f8"),
  "FloatStorage": np.dtype("<f4"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("<i1"),
  "ByteStorage": np.dtype("<u1"),
  "BoolStorage": np.dtype("?"),
}


class Storage(NamedTuple):
  """A class of storages, which a file only names."""

  dtype: np.dtype


def read_torch_file(path: pathlib.Path) -> Any:
  """Plain containers, numbers and texts, and tensors as NumPy arrays.

  Raises InputError when the file is not there, is not of PyTorch 1.6 or later, or pickles anything else: of the classes
  and functions that a pickle can name only those are looked up that tensors are made of.
  """
  if not path.is_file():
    raise InputError(f"--checkpoint={path} is not a file")
  try:
    with zipfile.ZipFile(path) as archive:
      # PyTorch never compresses, and what is compressed may become any size.
      if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise InputError(f"{path} is a compressed archive, expected a PyTorch file of weights")
      (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
      return _Unpickler(archive, pickled.removesuffix("data.pkl")).load()
  except InputError:
    raise
  except Exception as error:  # whatever a damaged file makes its parsers run into
    reason = str(error).partition("\n")[0][:300]
    raise InputError(f"{path} cannot be read as a PyTorch file of weights: {reason}") from error


class _Unpickler(pickle.Unpickler):
  def __init__(self, archive: zipfile.ZipFile, folder: str):
    super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")), encoding="utf-8")
    self._archive, self._folder = archive, folder

  def find_class(self, module: str, name: str) -> Any:
    known: dict[tuple[str, str], Callable] = {
      ("collections", "OrderedDict"): collections.OrderedDict,
      ("torch._utils", "_rebuild_tensor_v2"): _tensor,
      ("torch._utils", "_rebuild_parameter"): _parameter,
    }
    if module == "torch" and name in STORAGES:
      return Storage(STORAGES[name])
    if (module, name) not in known:
      raise pickle.UnpicklingError(f"it pickles {module}.{name}, expected tensors and plain containers")
    return known[module, name]

  def persistent_load(self, pid: Any) -> np.ndarray:
    """A whole storage, from ("storage", its class, the name of its file, the device, the number of its values)."""
    kind, storage, name, _, size = pid
    if kind != "storage" or not isinstance(storage, Storage):
      raise pickle.UnpicklingError(f"it refers to a {kind}, expected storages")
    return np.frombuffer(self._archive.read(f"{self._folder}data/{name}"), storage.dtype, count=size)


def _tensor(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any) -> np.ndarray:
  """PyTorch's strides count values."""
  last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
  if min((offset, *shape, *strides)) < 0 or math.prod(shape) > len(storage) or 0 not in shape and last >= len(storage):
    raise pickle.UnpicklingError(f"a tensor of shape {shape} goes beyond its storage of {len(storage):,} values")
  byte_strides = tuple(stride * storage.itemsize for stride in strides)
  return np.lib.stride_tricks.as_strided(storage[offset:], shape, byte_strides, writeable=False)


def _parameter(tensor: np.ndarray, *_: Any) -> np.ndarray:
  return tensor
