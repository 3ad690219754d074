"""Paths that flags and configurations name."""

import errno
import hashlib
import os
import pathlib
import re

from data_pipelines.buckets.addresses import AnyPath, bucket_path, is_address
from data_pipelines.input_error import InputError

# Of names that no choice of permissions makes usable.
NO_PLACE = (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}


# TensorStore writes checkpoints, and says it in its own errors' text.
TEXTS = {"No space left on device": "the disk is full", "Read-only file system": "it is read-only"}


def disk_problem(error: BaseException) -> str | None:
  """One sentence when the error, or one that it came from, is of a disk that takes nothing more; else None.

  What was saved before does not change: everything is written beside it, and renamed when it is whole.
  """
  cause: BaseException | None = error
  while cause is not None:
    message = str(cause)
    if isinstance(cause, OSError):
      reason = REASONS.get(cause.errno or 0)
    else:
      reason = next((reason for text, reason in TEXTS.items() if text in message), None)
    if reason:
      quoted = re.search(r'"(/[^"]+)"', message)
      where = getattr(cause, "filename", None) or (quoted[1] if quoted else message.splitlines()[0][:200])
      return f"cannot write, {reason}: {where}. The same command goes on when there is room"
    cause = cause.__cause__ or cause.__context__
  return None


def path_problem(error: BaseException) -> str | None:
  """One sentence when the error, or one that it came from, is of a path that cannot be used, for want of permission
  or because there is no such place; else None.
  """
  cause: BaseException | None = error
  while cause is not None:
    if (
      isinstance(cause, OSError) and cause.filename and (isinstance(cause, PermissionError) or cause.errno in NO_PLACE)
    ):
      change = "Change its permissions, or choose" if isinstance(cause, PermissionError) else "Choose"
      return f"{str(cause.filename)[:200]} cannot be used: {cause.strerror}. {change} another path"
    cause = cause.__cause__ or cause.__context__
  return None


def local_path(text: str | os.PathLike[str], name: str) -> pathlib.Path:
  """The path on this machine that the flag or field `name` says, `~` expanded.

  Raises InputError with both, and with what to set, for an address (`gs://...`) and where no home folder is known.
  """
  address = re.match(r"([a-z][a-z0-9+.-]*)://", str(text), re.IGNORECASE)
  if address:
    raise InputError(
      f"{name}={text} cannot be used: {address[0]} is no path on this machine. Set {name} to a local path"
    )
  try:
    return pathlib.Path(text).expanduser()
  except RuntimeError as error:
    raise InputError(f"{name}={text} cannot be used: {error} Set {name} to a path without ~, or HOME") from error


def path_or_address(text: str | os.PathLike[str], name: str) -> AnyPath:
  """`local_path`, or the folder of a bucket that a `gs://` or `s3://` address names, as `bucket_path` gives it."""
  return bucket_path(text, name) if is_address(text) else local_path(text, name)


def absolute(path: AnyPath) -> AnyPath:
  """The path without links; an address stays."""
  return path if is_address(path) else path.resolve()


def bucket_cache() -> pathlib.Path:
  """The folder of this machine for copies of what buckets hold, in the user's cache folder."""
  return prepared_folder("") / "buckets"


def prepared_folder(configured: str) -> pathlib.Path:
  """The folder that the configuration names; by default `composeret_jax` in the user's cache folder.

  Of one in a bucket it is a folder of this machine, for what is fetched from there and for what no bucket holds: pixel
  stores are memory-mapped, and partial files are appended to.
  """
  if is_address(configured):
    return bucket_cache() / f"prepared-{hashlib.sha256(configured.rstrip('/').encode()).hexdigest()[:16]}"
  default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "composeret_jax"
  return local_path(configured or default, "config.data.prepared_dir")


def check_apart(output: AnyPath, output_name: str, data: AnyPath, data_name: str) -> None:
  """Raises InputError when `output` lies in the folder `data`, where it would be read as data; hidden ones are not."""
  output, data = absolute(output), absolute(data)
  if not output.is_relative_to(data):
    return
  if not any(part.startswith(".") for part in output.relative_to(data).parts):
    raise InputError(
      f"{output_name}={output} is in {data_name}={data}: what the program writes there would be read as data. Choose a "
      f"folder outside, and move there what is in it already"
    )
