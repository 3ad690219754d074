"""Contenders of a benchmark, each in a process of its own, so that its peak of memory is its own."""

from collections.abc import Callable, Mapping, Sequence
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any


def run_alone(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
  """The last line, JSON, that the script that calls this prints when it runs by `python -m` with `arguments`.

  `environment` is added to this process's. Raises RuntimeError with what it said when it fails.
  """
  module = sys.modules["__main__"].__spec__.name
  done = subprocess.run(
    [sys.executable, "-m", module, *arguments], env=os.environ | dict(environment or {}), capture_output=True, text=True
  )
  if done.returncode:
    raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr}")
  return json.loads(done.stdout.splitlines()[-1])


def best_seconds(function: Callable[[], Any], num_repeats: int) -> float:
  """The shortest of `num_repeats` calls, in seconds; `function` returns when its work is done."""
  times = []
  for _ in range(num_repeats):
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  return min(times)


def peak_gigabytes() -> float:
  """This process's largest resident memory so far, on Linux."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def report(title: str, rows: Sequence[Mapping[str, Any]], output: str | None) -> None:
  """Prints rows with equal keys as a table, and writes them as JSON where `output` names a file."""
  lines = [list(rows[0])] + [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  print(title)
  for line in lines:
    print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
  if output:
    pathlib.Path(output).write_text(json.dumps({"title": title, "rows": list(rows)}, indent=2) + "\n")
