"""PyTorch's files: tensors are read, and whatever else they pickle is refused and never called."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from composeret_jax.pretrained.torch_file import read_torch_file
from data_pipelines.input_error import InputError
from tests.fakes import torch_file

ARRAYS = {
  "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
  "half": np.arange(6, dtype=np.float16).reshape(1, 2, 3),
  "count": np.array(7, np.int64),
}


@pytest.fixture
def written(tmp_path):
  return torch_file.write(tmp_path / "phi.pt", {"epoch": 3, "Phi": ARRAYS, "name": "phi"})


def test_tensors_and_plain_values_are_read(written):
  found = read_torch_file(written)
  assert found["epoch"] == 3 and found["name"] == "phi" and list(found["Phi"]) == list(ARRAYS)
  for name, array in ARRAYS.items():
    assert found["Phi"][name].dtype == array.dtype
    np.testing.assert_array_equal(found["Phi"][name], array)


def test_the_same_as_pytorch(written):
  torch = pytest.importorskip("torch", reason="the file is compared with what PyTorch reads")
  expected = torch.load(written, weights_only=True)["Phi"]
  for name, array in read_torch_file(written)["Phi"].items():
    np.testing.assert_array_equal(array, expected[name].numpy())


class Hostile:
  def __init__(self, folder):
    self.folder = folder

  def __reduce__(self):
    return os.mkdir, (str(self.folder / "made by the file"),)


def with_pickle(path, content):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickle.dumps(content))
    archive.writestr("archive/data/0", b"\0" * 16)
  return path


def test_nothing_that_a_file_names_is_called(tmp_path):
  with pytest.raises(InputError, match=r"it pickles (posix|nt)\.mkdir, expected tensors and plain containers"):
    read_torch_file(with_pickle(tmp_path / "hostile.pt", {"Phi": Hostile(tmp_path)}))
  assert [path.name for path in tmp_path.iterdir()] == ["hostile.pt"]


@pytest.mark.parametrize(
  ("offset", "shape", "strides"),
  [(0, (5,), (1,)), (2, (4,), (1,)), (-1, (2,), (1,)), (0, (2**40,), (0,)), (0, (2, 2), (-1, 1))],
)
def test_a_tensor_does_not_reach_beyond_its_storage(tmp_path, monkeypatch, offset, shape, strides):
  written = torch_file.write(tmp_path / "phi.pt", {"Phi": {"weight": np.zeros(4, np.float32)}})
  from composeret_jax.pretrained import torch_file as reader

  real = reader._tensor
  monkeypatch.setattr(reader, "_tensor", lambda storage, *_: real(storage, offset, shape, strides))
  with pytest.raises(InputError, match="goes beyond its storage of 4 values"):
    read_torch_file(written)


def test_what_is_no_such_file_is_named(tmp_path, written):
  with pytest.raises(InputError, match="is not a file"):
    read_torch_file(tmp_path / "nothing.pt")
  (tmp_path / "text.pt").write_text("no archive")
  with pytest.raises(InputError, match=r"text\.pt cannot be read as a PyTorch file of weights"):
    read_torch_file(tmp_path / "text.pt")
  cut = tmp_path / "cut.pt"
  cut.write_bytes(written.read_bytes()[:-200])
  with pytest.raises(InputError, match=r"cut\.pt cannot be read"):
    read_torch_file(cut)
  compressed = torch_file.write(tmp_path / "compressed.pt", {"epoch": 1}, zipfile.ZIP_DEFLATED)
  with pytest.raises(InputError, match="is a compressed archive"):
    read_torch_file(compressed)
