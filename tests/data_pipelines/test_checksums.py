import hashlib
import subprocess

from data_pipelines.files import changed_files, CHECKSUMS, file_sha256, write_checksums


def test_sha256_is_the_standard_one(tmp_path):
  (tmp_path / "a").write_bytes(b"composed image retrieval")
  assert file_sha256(tmp_path / "a") == hashlib.sha256(b"composed image retrieval").hexdigest()


def test_what_changed_is_found_here_and_by_sha256sum(tmp_path):
  (tmp_path / "deep").mkdir()
  for name in ("a", "deep/b c", "deep/d"):
    (tmp_path / name).write_text(name)
  assert changed_files(tmp_path) == [CHECKSUMS]
  (tmp_path / "later").touch()
  write_checksums(tmp_path, without=["later"])
  assert changed_files(tmp_path) == ["later"]
  assert changed_files(tmp_path, without=["later"]) == []
  (tmp_path / "later").unlink()
  check = ["sha256sum", "--check", "--quiet", CHECKSUMS]
  assert subprocess.run(check, cwd=tmp_path).returncode == 0
  (tmp_path / "deep/b c").write_text("other")
  (tmp_path / "a").unlink()
  assert changed_files(tmp_path) == ["a", "deep/b c"]
  (tmp_path / CHECKSUMS).write_text("nonsense")
  assert changed_files(tmp_path) == [CHECKSUMS]
