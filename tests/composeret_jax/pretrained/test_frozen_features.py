import os
import resource
import socket
import subprocess
import sys

import numpy as np
import pytest

from composeret_jax.pretrained.frozen_features import kept_features
from data_pipelines.files import partial_name
from data_pipelines.input_error import InputError

FEATURES = np.arange(6, dtype=np.float32).reshape(3, 2)
MADE_FROM = {"texts": ["a", "b", "c"], "sha256": {"weights": "1"}}
TWO_PROCESSES = """
import pathlib, sys
import numpy as np
from composeret_jax.pretrained.frozen_features import kept_features
from composeret_jax.distributed import join
from tests.composeret_jax.pretrained.test_frozen_features import FEATURES, MADE_FROM

address, process, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
join(address, 2, process)
done = []
for _ in range(2):
  found = kept_features(folder, "texts", MADE_FROM, lambda: done.append("computed") or FEATURES)
  done.append(found.sum())
print("RESULT", *done)
"""


def not_again():
  raise AssertionError("computed again")


def test_what_was_computed_is_read(tmp_path):
  np.testing.assert_array_equal(kept_features(tmp_path / "new", "texts", MADE_FROM, lambda: FEATURES), FEATURES)
  np.testing.assert_array_equal(kept_features(tmp_path / "new", "texts", MADE_FROM, not_again), FEATURES)


@pytest.mark.parametrize("other", [{"texts": ["a", "c", "b"]}, {"sha256": {"weights": "2"}}, {"dtype": "bfloat16"}])
def test_what_is_made_from_something_else_is_computed(tmp_path, other):
  kept_features(tmp_path, "texts", MADE_FROM, lambda: FEATURES)
  np.testing.assert_array_equal(kept_features(tmp_path, "texts", MADE_FROM | other, lambda: -FEATURES), -FEATURES)
  np.testing.assert_array_equal(kept_features(tmp_path, "texts", MADE_FROM, not_again), FEATURES)


@pytest.mark.parametrize("lost", [4, None])
def test_a_damaged_file_is_named(tmp_path, lost):
  kept_features(tmp_path, "texts", MADE_FROM, lambda: FEATURES)
  (file,) = tmp_path.glob("*.npy")
  os.truncate(file, file.stat().st_size - lost if lost else 0)
  with pytest.raises(InputError, match=f"{file} is damaged: .* Delete it"):
    kept_features(tmp_path, "texts", MADE_FROM, not_again)


def test_a_write_that_was_cut_short_is_none(tmp_path):
  kept_features(tmp_path, "texts", MADE_FROM, lambda: FEATURES)
  (file,) = tmp_path.glob("*.npy")
  file.rename(partial_name(file))
  kept_features(tmp_path, "texts", MADE_FROM, lambda: FEATURES)
  np.testing.assert_array_equal(kept_features(tmp_path, "texts", MADE_FROM, not_again), FEATURES)
  assert not partial_name(file).exists()


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path, capsys):
  (tmp_path / "features").write_text("a file")
  found = kept_features(tmp_path / "features", "texts", MADE_FROM, lambda: FEATURES)
  np.testing.assert_array_equal(found, FEATURES)
  message = capsys.readouterr().err
  assert f"{tmp_path}/features/texts-" in message and "cannot be written, the next run computes it again" in message


def test_a_full_disk_is_a_message_and_keeps_nothing(tmp_path, capsys):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  many = np.ones((1000, 50), np.float32)
  resource.setrlimit(resource.RLIMIT_FSIZE, (many.nbytes // 2, limits[1]))
  try:
    np.testing.assert_array_equal(kept_features(tmp_path, "texts", MADE_FROM, lambda: many), many)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert "cannot be written, the next run computes it again: " in capsys.readouterr().err
  assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]


def test_what_another_has_kept_meanwhile_is_not_written_again(tmp_path):
  inodes = []

  def compute():
    kept_features(tmp_path, "texts", MADE_FROM, lambda: FEATURES)
    inodes.extend(file.stat().st_ino for file in tmp_path.glob("*.npy"))
    return FEATURES

  kept_features(tmp_path, "texts", MADE_FROM, compute)
  assert [file.stat().st_ino for file in tmp_path.glob("*.npy")] == inodes and len(inodes) == 1


def test_two_processes_compute_what_one_of_them_lacks(tmp_path):
  kept_features(tmp_path / "0", "texts", MADE_FROM, lambda: FEATURES)
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  arguments = [sys.executable, "-c", TWO_PROCESSES, address]
  processes = [
    subprocess.Popen([*arguments, str(i), str(tmp_path / str(i))], text=True, stdout=subprocess.PIPE) for i in range(2)
  ]
  outputs = [process.communicate(timeout=240)[0] for process in processes]
  assert [output.split("RESULT ")[1] for output in outputs] == ["computed 15.0 15.0\n"] * 2
