import errno
import os
import pathlib
import subprocess
import sys

import pytest

from data_pipelines import files

ROOT = pathlib.Path(__file__).parents[2]

# Ends, as by SIGKILL, before the number-th call of a function of `os` that changes a name.
KILLED = """
import os, pathlib, sys
number, exchanges = int(sys.argv[2]), sys.argv[3] == "exchange"

def counted(function):
  def call(*arguments, **options):
    global number
    number -= 1
    if number < 0:
      os._exit(9)
    return function(*arguments, **options)
  return call

from data_pipelines import files
for name in ("rename", "replace", "fsync", "rmdir", "unlink"):
  setattr(os, name, counted(getattr(os, name)))
if not exchanges:
  files._exchange = lambda *_: False
folder = pathlib.Path(sys.argv[1])
with files.replaced(folder) as partial:
  (partial / "a").write_text("new")
"""


def replace(folder, number, how):
  return subprocess.run(
    [sys.executable, "-c", KILLED, str(folder), str(number), how], env=os.environ | {"PYTHONPATH": str(ROOT)}
  ).returncode


@pytest.mark.parametrize("how", ["exchange", "without"])
def test_killed_at_any_moment_a_replaced_folder_is_the_old_or_the_new_one(tmp_path, how):
  seen = set()
  for number in range(20):
    folder = tmp_path / str(number) / "bundle"
    folder.mkdir(parents=True)
    (folder / "a").write_text("old")
    ended = replace(folder, number, how)
    if how == "without" and not folder.exists():
      seen.add("put back")
      with pytest.raises(ZeroDivisionError), files.replaced(folder):
        1 / 0  # noqa: B018
    seen.add((folder / "a").read_text())
    if not ended:
      break
  assert ended == 0
  assert seen == ({"old", "new"} if how == "exchange" else {"old", "new", "put back"})


def test_what_a_killed_writer_left_goes_with_the_next_and_what_is_being_written_stays(tmp_path):
  left, other = tmp_path / ".bundle.partial-0123abcd", tmp_path / ".other.partial-0123abcd"
  for folder in (left, other):
    folder.mkdir()
    os.utime(folder, (0, 0))
  with files.replaced(tmp_path / "bundle") as first:
    os.utime(first, (0, 0))
    with files.replaced(tmp_path / "bundle") as second:
      assert not left.exists() and first.exists() and second.exists()
  assert sorted(os.listdir(tmp_path)) == [other.name, "bundle"]


def test_a_file_is_whole_or_the_old_one(tmp_path):
  file = tmp_path / "a.txt"
  files.write_whole(file, "å")
  assert file.read_bytes() == "å".encode()
  with pytest.raises(ZeroDivisionError), files.open_whole(file) as stream:
    stream.write(b"half")
    1 / 0  # noqa: B018
  assert file.read_bytes() == "å".encode()
  assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("write", [files.open_whole, files.replaced])
def test_a_full_disk_is_an_error_with_the_path(tmp_path, write):
  with pytest.raises(OSError) as caught, write(tmp_path / "file"):
    raise OSError(errno.ENOSPC, "No space left on device")
  assert caught.value.filename == str(tmp_path / "file")
  with pytest.raises(OSError) as caught, write(tmp_path / "file"):
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
  assert caught.value.filename is None
