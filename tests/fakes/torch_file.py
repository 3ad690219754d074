"""Files as torch.save writes them, without PyTorch."""

import collections
import io
import math
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np

NAMES = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}


class _Storage:
  """Goes into a pickle as a reference to a file of the archive."""

  def __init__(self, kind, key, size):
    self.reference = ("storage", kind, key, "cpu", size)


class _Tensor:
  def __init__(self, rebuild, arguments):
    self.rebuild, self.arguments = rebuild, arguments

  def __reduce__(self):
    return self.rebuild, self.arguments


class _Pickler(pickle.Pickler):
  def persistent_id(self, value):
    return value.reference if isinstance(value, _Storage) else None


def write(path: pathlib.Path, content, compression: int = zipfile.ZIP_STORED) -> pathlib.Path:
  """`content` with NumPy arrays in place of tensors; dictionaries become ordered ones where they hold arrays."""
  torch, functions = types.ModuleType("torch"), types.ModuleType("torch._utils")
  for name in NAMES.values():
    setattr(torch, name, type(name, (), {"__module__": "torch"}))

  def _rebuild_tensor_v2(*arguments):
    raise NotImplementedError

  _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
  functions._rebuild_tensor_v2 = _rebuild_tensor_v2
  storages: list[np.ndarray] = []

  def prepared(value):
    if isinstance(value, dict):
      kind = collections.OrderedDict if any(isinstance(own, np.ndarray) for own in value.values()) else dict
      return kind((name, prepared(own)) for name, own in value.items())
    if not isinstance(value, np.ndarray):
      return value
    storages.append(value.ravel(order="F"))  # to have strides that are not a row's
    storage = _Storage(getattr(torch, NAMES[value.dtype.str]), str(len(storages) - 1), value.size)
    strides = tuple(math.prod(value.shape[:axis]) for axis in range(value.ndim))
    return _Tensor(_rebuild_tensor_v2, (storage, 0, value.shape, strides, False, collections.OrderedDict()))

  added = {"torch": torch, "torch._utils": functions}
  before = {name: sys.modules.get(name) for name in added}
  sys.modules.update(added)
  try:
    pickled = io.BytesIO()
    _Pickler(pickled, 2).dump(prepared(content))
  finally:
    for name, module in before.items():
      if module is None:
        del sys.modules[name]
      else:
        sys.modules[name] = module
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("archive/data.pkl", pickled.getvalue())
    for number, array in enumerate(storages):
      archive.writestr(f"archive/data/{number}", array.tobytes())
  return path
