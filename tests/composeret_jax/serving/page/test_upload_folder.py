import http.client
import os
import time
import urllib.error
import urllib.request

import pytest

from composeret_jax.serving.page import upload_folder
from composeret_jax.serving.page.guard import MAX_BODY
from composeret_jax.serving.page.upload_folder import MAX_AGE, UploadFolder
from data_pipelines.input_error import InputError
from tests.composeret_jax.serving.page.conftest import encoded_image
from tests.composeret_jax.serving.page.test_server import answer


def files_in(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def old(file, seconds):
  os.utime(file, (time.time() - seconds,) * 2)
  return file


def form(content, name="files"):
  head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="../a.png"\r\nContent-Type: image/png\r\n\r\n'
  return head.encode() + content + b"\r\n--b--\r\n"


def send(address, body):
  """Status and answer of an upload."""
  headers = {"Content-Type": "multipart/form-data; boundary=b"}
  request = urllib.request.Request(f"{address}/gradio_api/upload", body, headers)
  try:
    with urllib.request.urlopen(request, timeout=30) as response:
      return response.status, response.read().decode()
  except urllib.error.HTTPError as error:
    return error.code, error.read().decode()


def test_old_files_go_at_the_start_and_at_each_sweep(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  files = [folder.keep(b"x") for _ in range(3)]
  (folder.path / "copy").mkdir()
  (folder.path / "copy" / "a.png").write_bytes(b"y")
  old(files[0], MAX_AGE + 1)
  folder.sweep()
  assert files_in(folder.path) == sorted([files[1], files[2], folder.path / "copy" / "a.png"])
  for file in files_in(folder.path):
    old(file, MAX_AGE + 1)
  old(folder.path / "copy", MAX_AGE + 1)
  UploadFolder(tmp_path / "uploads").sweep()
  assert files_in(folder.path) == []


def test_the_oldest_go_where_there_is_no_room(tmp_path, monkeypatch):
  monkeypatch.setattr(upload_folder, "QUOTA", 100)
  folder = UploadFolder(tmp_path / "uploads")
  files = [old(folder.keep(bytes(30)), 100 - i) for i in range(5)]
  assert files_in(folder.path) == sorted(files[2:])
  monkeypatch.setattr(upload_folder, "MAX_FILES", 2)
  newest = folder.keep(b"")
  assert files_in(folder.path) == sorted([files[4], newest])


def test_another_users_folder_is_refused(tmp_path):
  (tmp_path / "elsewhere").mkdir()
  (tmp_path / "uploads").symlink_to(tmp_path / "elsewhere")
  with pytest.raises(InputError, match="is not a folder of this user"):
    UploadFolder(tmp_path / "uploads")


def test_only_files_in_the_folder_are_held(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  file = folder.keep(b"x")
  (tmp_path / "secret").write_bytes(b"y")
  (folder.path / "link").symlink_to(tmp_path / "secret")
  others = [folder.path, folder.path / "nobody", folder.path / "link", tmp_path / "secret", f"{folder.path}/../secret"]
  assert folder.holds(str(file))
  assert not any(folder.holds(str(other)) for other in others)
  assert not any(folder.holds(other) for other in (None, 3, [str(file)], "\0", "a" * 5000, f"file://{file}"))


def test_what_is_sent_is_kept_once_and_what_is_refused_or_broken_off_leaves_nothing(address, uploads):
  before = files_in(uploads.path)
  for body in (b"", b"--b", form(b"x" * 1000)[:-9], form(b"x", "other"), b"x" * 100):
    assert 400 <= send(address, body)[0] < 500
  for sent in (form(b"x" * 5_000_000)[:3_000_000], b""):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Length", str(MAX_BODY))
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.endheaders(sent)
    connection.close()
  time.sleep(0.3)
  assert files_in(uploads.path) == before
  status, path = send(address, form(encoded_image(seed=77)))
  assert status == 200
  (kept,) = set(files_in(uploads.path)) - set(before)
  assert path == f'["{kept}"]'
  assert kept.read_bytes() == encoded_image(seed=77)
  file = {"path": str(kept), "meta": {"_type": "gradio.FileData"}}
  call = {"fn_index": 5, "data": [None, 24, file], "session_hash": "uploading"}
  assert answer(address, call, "/gradio_api/run/predict")[0] == 200
