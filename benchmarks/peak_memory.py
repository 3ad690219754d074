"""The most memory that a command and its descendants hold together: shared pages count once (Linux)."""

import pathlib
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent


def peak_memory(command: list[str]) -> tuple[int, float]:
  """The most bytes that a command and its descendants hold, and its seconds; raises RuntimeError when it fails."""
  start, peak = time.perf_counter(), 0
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
    while process.poll() is None:
      peak = max(peak, sum(map(memory, descendants(process.pid))))
      time.sleep(0.25)
    if process.returncode:
      errors.seek(0)
      raise RuntimeError(errors.read().decode()[-2000:])
  return peak, time.perf_counter() - start


def descendants(pid: int) -> list[int]:
  """A process and all below it; those that end meanwhile are left out."""
  try:
    children = [
      int(child)
      for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
      for child in (task / "children").read_text().split()
    ]
  except OSError:
    return []
  return [pid, *(below for child in children for below in descendants(child))]


def memory(pid: int) -> int:
  """Bytes of a process, shared pages divided among those that share them; 0 when it has ended."""
  try:
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
  except OSError:
    return 0
  return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
