import subprocess

import jax

from composeret_jax.training.reports.environment import environment, git_commit


def git(folder, *arguments):
  identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
  command = ["git", "-C", str(folder), *identity, *arguments]
  return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout_and_whether_files_differ_from_it(tmp_path):
  git(tmp_path, "init")
  (tmp_path / "file").write_text("1")
  git(tmp_path, "add", "file")
  git(tmp_path, "commit", "-m", "one")
  commit = git(tmp_path, "rev-parse", "HEAD")
  git(tmp_path, "tag", "v1")
  assert git_commit(tmp_path) == commit
  (tmp_path / "file").write_text("2")
  assert git_commit(tmp_path) == f"{commit}-dirty"
  (tmp_path / "packages").mkdir()
  assert git_commit(tmp_path / "packages") == ""  # another project's


def test_outside_a_checkout_and_without_git_there_is_no_commit(tmp_path, monkeypatch):
  assert git_commit(tmp_path) == ""
  monkeypatch.setenv("PATH", "")
  assert git_commit(tmp_path) == ""


def test_the_versions_are_those_that_run():
  assert environment().packages["jax"] == jax.__version__
