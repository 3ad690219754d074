"""Identifies the program that makes a run: the commit of this program's checkout, and the versions of packages."""

from collections.abc import Mapping
import functools
import importlib.metadata
import pathlib
import platform
import subprocess
from typing import NamedTuple

CHECKOUT = pathlib.Path(__file__).parents[3]

PACKAGES = ("composeret-jax", "flax", "grain", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")


class Environment(NamedTuple):
  """The commit, which ends in -dirty where files differ from it and is "" outside a checkout; and versions."""

  git_commit: str
  python: str
  packages: Mapping[str, str]


@functools.cache
def environment() -> Environment:
  """The environment of this process."""
  packages = {}
  for name in PACKAGES:
    try:
      packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # of a checkout that is not installed
      packages[name] = ""
  return Environment(git_commit(CHECKOUT), platform.python_version(), packages)


def git_commit(folder: pathlib.Path) -> str:
  """The commit of a checkout with `folder` at its top; "" for any other folder, and without git.

  A package that is installed within another project's checkout is not of that project's commit.
  """
  if _git(folder, "rev-parse", "--show-toplevel") != str(folder.resolve()):
    return ""
  return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: pathlib.Path, *arguments: str) -> str:
  try:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return ""
