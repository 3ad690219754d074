"""Goes on with a run, and kills itself at a moment of that.

python -m tests.fakes.killed_while_resuming RAW PREPARED WORKDIR NUM_STEPS MOMENT NUMBER

MOMENT is `fsync`, or the name of a file, or of the folder of checkpoints: before its NUMBER-th use all ends. With
`written:` before a file's name it ends when the file was opened to be written, and is empty. Or it is `restore`: the
end comes so many milliseconds after a checkpoint begins to be restored.
"""

import io
import os
import pathlib
import signal
import sys
import threading
import time

from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.train import train
from tests.fakes import tiny


def config_of(raw, prepared, num_steps):
  """Twenty steps, a checkpoint after five, an evaluation after ten."""
  config = tiny.config(pathlib.Path(raw), pathlib.Path(prepared))
  config.update(num_train_steps=num_steps, checkpoint_every_steps=5, eval_every_steps=10)
  return config


def end_at_use(moment, number):
  """Ends the process before the `number`-th time that a file of this name, or in a folder of this name, is used."""
  uses = [0]

  def seen(event, arguments):
    if event not in ("open", "os.rename") or not isinstance(arguments[0], str | os.PathLike):
      return
    parts = pathlib.PurePath(os.fspath(arguments[0])).parts
    if any(moment in part for part in parts if isinstance(part, str)):
      uses[0] += 1
      if uses[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)

  sys.addaudithook(seen)


def end_when_opened_to_write(name, number):
  """Ends the process when a file of this name was opened to be written for the `number`-th time."""
  uses, io_open = [0], io.open

  def opened(file, mode="r", *arguments, **options):
    stream = io_open(file, mode, *arguments, **options)
    if mode[0] == "w" and name in os.path.basename(file):
      uses[0] += 1
      if uses[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return stream

  io.open = opened


def end_at_fsync(number):
  """Ends the process before its `number`-th call of fsync."""
  uses, fsync = [0], os.fsync

  def counted(descriptor):
    uses[0] += 1
    if uses[0] == number:
      os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

  os.fsync = counted


def end_while_restoring(milliseconds):
  """Ends the process so long after a restore has begun."""
  restore = Checkpoints.restore

  def watched(self, step, like):
    def end():
      time.sleep(milliseconds / 1000)
      os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=end, daemon=True).start()
    restored = restore(self, step, like)
    time.sleep(60)
    return restored

  Checkpoints.restore = watched


if __name__ == "__main__":
  raw, prepared, workdir, num_steps, moment, number = sys.argv[1:]
  if moment == "restore":
    end_while_restoring(int(number))
  elif moment == "fsync":
    end_at_fsync(int(number))
  elif moment.startswith("written:"):
    end_when_opened_to_write(moment.partition(":")[2], int(number))
  else:
    end_at_use(moment, int(number))
  train(config_of(raw, prepared, int(num_steps)), pathlib.Path(workdir))
