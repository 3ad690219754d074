"""What a full or a read-only disk is, whoever ran into it."""

import errno
import re

REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}
# TensorStore writes checkpoints, and says it in its own errors' text.
TEXTS = {"No space left on device": "the disk is full", "Read-only file system": "it is read-only"}


def disk_problem(error: BaseException) -> str | None:
  """One sentence when the error, or one that it came from, is of a disk that takes nothing more; else None.

  What was saved before stays as it is: everything is written beside it, and renamed when it is whole.
  """
  while error is not None:
    reason = REASONS.get(error.errno) if isinstance(error, OSError) else _reason_in(str(error))
    if reason:
      where = getattr(error, "filename", None) or _path_in(str(error))
      return f"cannot write, {reason}: {where}. The same command goes on from the newest checkpoint when there is room"
    error = error.__cause__ or error.__context__
  return None


def _reason_in(message: str) -> str | None:
  return next((reason for text, reason in TEXTS.items() if text in message), None)


def _path_in(message: str) -> str:
  path = re.search(r'"(/[^"]+)"', message)
  return path[1] if path else message.splitlines()[0][:200]
