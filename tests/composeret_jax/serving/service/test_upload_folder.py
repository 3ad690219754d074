import asyncio
import http.client
import os
import shutil
import time

import numpy as np
import pytest

from composeret_jax.serving.searcher import Query
from composeret_jax.serving.service.limits import upload_folder
from composeret_jax.serving.service.limits.guard import MAX_BODY
from composeret_jax.serving.service.limits.upload_folder import Expired, MAX_AGE, Sent, UploadFolder
from data_pipelines.input_error import InputError
from tests.fakes.fake_bundle import DIM
from tests.fakes.served import ask, encoded_image, form, upload

PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def sent(image=None, jpeg=b"jpeg"):
  return Sent(Query(np.arange(4, dtype=np.float32), 2.5, image=image), jpeg, "a" * 64)


def files_in(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def old(file, seconds):
  os.utime(file, (time.time() - seconds,) * 2)
  return file


def test_what_is_kept_is_what_was_sent(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  for image in (None, PIXELS):
    kept = UploadFolder(tmp_path / "uploads").get(folder.keep(sent(image)))  # as another process reads it
    assert (kept.thumbnail, kept.query.norm, kept.query.reference_id) == (b"jpeg", 2.5, None)
    assert kept.fingerprint == "a" * 64
    np.testing.assert_array_equal(kept.query.feature, np.arange(4))
    assert kept.query.image is None if image is None else (kept.query.image == image).all()


def test_an_upload_expires_ten_minutes_after_its_last_use(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  token = folder.keep(sent())
  file = old(folder.path / f"{token}.npz", MAX_AGE - 5)
  folder.get(token)
  assert time.time() - file.stat().st_mtime < 5
  old(file, MAX_AGE + 1)
  with pytest.raises(Expired, match="The upload has expired"):
    folder.get(token)


@pytest.mark.parametrize("token", ["", "0" * 32, "../secret", "a" * 5000, "\0", "A" * 32])
def test_no_other_token_opens_a_file(tmp_path, token):
  (tmp_path / "secret.npz").write_bytes(b"x")
  with pytest.raises(Expired):
    UploadFolder(tmp_path / "uploads").get(token)


def test_old_files_go_at_the_start_and_at_each_sweep(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  files = [folder.path / f"{folder.keep(sent())}.npz" for _ in range(3)]
  old(files[0], MAX_AGE + 1)
  folder.sweep()
  assert files_in(folder.path) == sorted(files[1:])
  for file in files[1:]:
    old(file, MAX_AGE + 1)
  UploadFolder(tmp_path / "uploads")
  assert files_in(folder.path) == []


def test_the_oldest_go_where_there_is_no_room(tmp_path, monkeypatch):
  size = (lambda folder: (folder.path / f"{folder.keep(sent())}.npz").stat().st_size)(UploadFolder(tmp_path / "one"))
  monkeypatch.setattr(upload_folder, "QUOTA", 3 * size + 10)
  folder = UploadFolder(tmp_path / "uploads")
  files = [old(folder.path / f"{folder.keep(sent())}.npz", 100 - i) for i in range(5)]
  assert files_in(folder.path) == sorted(files[2:])
  monkeypatch.setattr(upload_folder, "MAX_FILES", 2)
  newest = folder.path / f"{folder.keep(sent())}.npz"
  assert files_in(folder.path) == sorted([files[4], newest])


def test_a_folder_that_was_removed_is_made_again(tmp_path):
  folder = UploadFolder(tmp_path / "uploads")
  token = folder.keep(sent())
  shutil.rmtree(folder.path)
  folder.sweep()
  with pytest.raises(Expired):
    folder.get(token)
  shutil.rmtree(folder.path)
  assert folder.get(folder.keep(sent())).thumbnail == b"jpeg"
  assert folder.path.stat().st_mode & 0o777 == 0o700


def test_sweeping_goes_on_after_an_error(tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(upload_folder, "SWEEP_SECONDS", 0.001)
  folder, swept = UploadFolder(tmp_path / "uploads"), []

  def sweep():
    swept.append(None)
    raise PermissionError(13, "Permission denied")

  monkeypatch.setattr(folder, "sweep", sweep)

  async def watch():
    sweeping = asyncio.create_task(folder.keep_swept())
    while len(swept) < 3:
      assert not sweeping.done()
      await asyncio.sleep(0.01)
    sweeping.cancel()

  asyncio.run(watch())
  assert "uploads are not swept: [Errno 13] Permission denied" in caplog.text


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_a_file_that_is_not_whole_has_expired(tmp_path, content):
  folder = UploadFolder(tmp_path / "uploads")
  token = folder.keep(sent())
  (folder.path / f"{token}.npz").write_bytes(content)
  with pytest.raises(Expired):
    folder.get(token)


def test_an_upload_to_a_server_of_another_bundle_is_no_query_here(address, uploads):
  token = uploads.keep(Sent(Query(np.full(DIM, 0.25, np.float32), 1.0), b"jpeg", "b" * 64))
  for path, request in (("/v1/search", {"upload": token}), (f"/v1/suggestions?upload={token}", None)):
    status, _, answer = ask(address, path, request)
    assert (status, answer["error"]) == (404, "The upload was for another model: choose the picture again.")


def test_another_users_folder_is_refused(tmp_path):
  (tmp_path / "elsewhere").mkdir()
  (tmp_path / "uploads").symlink_to(tmp_path / "elsewhere")
  with pytest.raises(InputError, match="is not a folder of this user"):
    UploadFolder(tmp_path / "uploads")


def test_what_is_sent_is_kept_once_and_what_is_refused_or_broken_off_leaves_nothing(address, uploads):
  before = files_in(uploads.path)
  whole, headers = form(encoded_image(seed=7))
  for body in (b"", b"--b", whole[:-9], form(encoded_image(seed=7), "other")[0], b"x" * 100, form(b"no image")[0]):
    assert 400 <= ask(address, "/v1/uploads", body, headers=headers)[0] < 500
  for content in (form(b"x" * 5_000_000)[0][:3_000_000], b""):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/v1/uploads")
    connection.putheader("Content-Length", str(MAX_BODY))
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.endheaders(content)
    connection.close()
  time.sleep(0.3)
  assert files_in(uploads.path) == before
  status, answer = upload(address, encoded_image(seed=77))
  assert status == 200
  assert set(files_in(uploads.path)) - set(before) == {uploads.path / f"{answer['upload']}.npz"}
