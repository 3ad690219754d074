"""Two processes save checkpoints, find one damaged, set it aside and save it again; prints what each sees, as JSON.

python -m tests.fakes.damaged_checkpoint COORDINATOR PROCESS_ID WORKDIR
"""

import json
import pathlib
import sys

import jax
from jax.experimental import multihost_utils

from composeret_jax.distributed import data_mesh, is_first, on_every_device
from composeret_jax.training.checkpoints import Checkpoints, DamagedCheckpointError
from configs import shapes
from tests.composeret_jax.training.test_checkpoints import state


def on_devices(step):
  return jax.jit(lambda state: state, out_shardings=on_every_device(data_mesh()))(state(step))


def damage(folder):
  """Changes a byte of its largest file."""
  file = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)


def main(workdir):
  config, seen = shapes.get_config(), []
  with Checkpoints(workdir, config, {}) as checkpoints:
    for step in (3, 6):
      checkpoints.save(step, on_devices(step))
  multihost_utils.sync_global_devices("saved")
  if is_first():
    damage(checkpoints.path(6) / "state")
  multihost_utils.sync_global_devices("damaged")
  with Checkpoints(workdir, config, {}) as checkpoints:
    try:
      checkpoints.check(6)
    except DamagedCheckpointError as error:
      seen.append(str(error))
    restored = checkpoints.restore(3, on_devices(0))
    seen.append(float(restored.variables.params["layer"]["kernel"].max()))
    checkpoints.set_aside([6])
    seen.append(checkpoints.steps())
    checkpoints.save(6, on_devices(6))
  Checkpoints(workdir, config, {}).check(6)
  print("SEEN", json.dumps([*seen, checkpoints.steps()]))


if __name__ == "__main__":
  jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
  main(pathlib.Path(sys.argv[3]))
