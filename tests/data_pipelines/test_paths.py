import pathlib

import pytest

from data_pipelines.input_error import InputError
from data_pipelines.paths import check_apart, local_path, path_problem, prepared_folder


def test_a_home_folder_is_expanded(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  assert local_path("~/runs", "--workdir") == pathlib.Path("/home/me/runs")


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket", "HTTP://host/x", "file:///tmp"])
def test_an_address_is_refused_at_once(address):
  with pytest.raises(InputError, match=f"--workdir={address} cannot be used: .* Set --workdir to a local path"):
    local_path(address, "--workdir")


def test_without_a_home_folder_the_setting_is_named(monkeypatch):
  def no_home(path):
    raise RuntimeError("Could not determine home directory.")

  monkeypatch.setattr(pathlib.Path, "expanduser", no_home)
  with pytest.raises(
    InputError, match="config.data.prepared_dir=.* cannot be used: Could not determine home directory"
  ):
    prepared_folder("")


def test_a_path_without_permission_is_named():
  error = ValueError("outer")
  error.__cause__ = PermissionError(13, "Permission denied", "/data/a")
  assert path_problem(error).startswith("/data/a cannot be used: Permission denied. ")
  assert path_problem(ValueError("other")) is None


def test_a_path_where_nothing_can_be_is_named(tmp_path):
  (tmp_path / "file").write_text("x")
  (tmp_path / "loop").symlink_to(tmp_path / "loop")
  for path, reason in (("file/below", "Not a directory"), ("a" * 300, "File name too long"), ("loop/x", "Too many")):
    with pytest.raises(OSError) as raised:
      (tmp_path / path).mkdir()
    message = path_problem(raised.value)
    assert f" cannot be used: {reason}" in message and message.endswith(". Choose another path")
    assert len(message) < 300
  with pytest.raises(OSError) as raised:
    (tmp_path / "nobody").read_text()
  assert path_problem(raised.value) is None


@pytest.mark.parametrize("output, refused", [("run", True), ("", True), ("a/b", True), (".cache/run", False)])
def test_nothing_is_written_among_the_data(tmp_path, output, refused):
  (tmp_path / "link").symlink_to(tmp_path)
  check_apart(tmp_path.parent / "run", "--workdir", tmp_path, "config.data.dir")
  if not refused:
    check_apart(tmp_path / output, "--workdir", tmp_path, "config.data.dir")
    return
  for folder in (tmp_path / output, tmp_path / "link" / output):
    with pytest.raises(InputError, match="--workdir=.* is in config.data.dir=.*: what the program writes there"):
      check_apart(folder, "--workdir", tmp_path, "config.data.dir")
