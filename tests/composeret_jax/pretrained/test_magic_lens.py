"""What is refused as a checkpoint of MagicLens."""

import pickle

import pytest

from composeret_jax.pretrained.magic_lens import read_magic_lens
from data_pipelines.input_error import InputError


class Caller:
  """Calls something when it is unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), "w")


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path):
  file, trace = tmp_path / "bad.pkl", tmp_path / "trace"
  file.write_bytes(pickle.dumps([b"weights", Caller(trace)], protocol=4))
  with pytest.raises(InputError, match="pickles more than bytes"):
    read_magic_lens(file)
  assert not trace.exists()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "cannot be read as a checkpoint"),
    (b"no pickle", "cannot be read as a checkpoint"),
    (pickle.dumps(None), "pickles more than bytes"),
    (pickle.dumps(b"\xff\xff", protocol=4), "cannot be read as a checkpoint"),
    (pickle.dumps(b"weights" * 99, protocol=4)[:-50], "cannot be read as a checkpoint"),
  ],
)
def test_other_files_are_refused(tmp_path, content, message):
  file = tmp_path / "bad.pkl"
  file.write_bytes(content)
  with pytest.raises(InputError, match=message):
    read_magic_lens(file)


def test_a_missing_file(tmp_path):
  with pytest.raises(InputError, match="is not a file"):
    read_magic_lens(tmp_path / "none.pkl")
