"""Which process has a lock, as a record in it says, and whether this machine knows that it is gone."""

from collections.abc import Mapping
import os
import pathlib
import socket
from typing import Any

from data_pipelines.untrusted_json import parse_json


def this_process() -> dict[str, Any]:
  """The identity of this process: its machine, its number, and the time of its start."""
  return {"host": socket.gethostname(), "process": os.getpid(), "started": _started(os.getpid()), "system": _system()}


def parse_owner(record: bytes) -> Mapping[str, Any]:
  """The owner that a record names; {} where it cannot be read."""
  try:
    owner = parse_json(record)
  except ValueError:
    return {}
  return owner if isinstance(owner, dict) else {}


def describe(owner: Mapping[str, Any]) -> str:
  """The owner in words."""
  return f"process {owner.get('process')} on {owner.get('host')}" if owner else "an unknown owner"


def is_running(owner: Mapping[str, Any]) -> bool | None:
  """Whether the owner still runs; None where this machine cannot know, being another one or started since."""
  if not owner.get("system") or owner["system"] != _system():
    return None
  return _started(owner.get("process")) == owner.get("started")


def _system() -> str:
  """This boot of this machine, and the namespace that processes are numbered in; "" where nothing says it."""
  try:
    return f"{pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return ""


def _started(process: Any) -> str:
  """When a process was started, in clock ticks since the boot; "" where there is none, or a killed one's rest."""
  try:
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
  except OSError:
    return ""
  return "" if fields[0] in "ZX" else fields[19]
