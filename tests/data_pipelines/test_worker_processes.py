import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from data_pipelines.input_error import InputError
from data_pipelines.pixels.store import CHUNK, open_store
from data_pipelines.tables import ImageTable

# What it does is not under `if __name__ == "__main__":`, so that each process that it starts does it too.
SCRIPT = """
import pathlib, sys
from data_pipelines.pixels.store import open_store
from tests.data_pipelines.pixels.test_store import table

open_store(table(3), 8, pathlib.Path(sys.argv[1]), split="train", source="a 1", num_workers=1)
"""


def test_a_script_that_its_workers_run_too_ends_and_says_why(tmp_path):
  script = tmp_path / "script.py"
  script.write_text(SCRIPT)
  command = [sys.executable, str(script), str(tmp_path / "pixels")]
  ended = subprocess.run(
    command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": os.getcwd()}
  )
  assert ended.returncode == 1
  assert 'if __name__ == "__main__"' in ended.stderr.splitlines()[-1]


class Slow(list):
  def __getitem__(self, row):
    time.sleep(0.2 if row % CHUNK == 0 else 0)
    return super().__getitem__(row)


def test_a_killed_process_that_decodes_is_one_error_that_says_what_to_set(tmp_path):
  names = [f"{row}.png" for row in range(20 * CHUNK)]
  images = ImageTable(names, names, Slow([b""] * len(names)), [""] * len(names))

  def kill():
    while not multiprocessing.active_children():
      time.sleep(0.01)
    for worker in multiprocessing.active_children():
      os.kill(worker.pid, signal.SIGKILL)

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    killed = pool.submit(kill)
    with pytest.raises(InputError, match="a process that loads images was ended.*config.data.num_workers"):
      open_store(images, 8, tmp_path, split="train", source="a 1", num_workers=1)
    killed.result()
