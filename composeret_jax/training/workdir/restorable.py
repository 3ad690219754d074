"""Whether what Orbax saves can be restored: of a workdir before training, of a checkpoint before it gets its name."""

import os

from composeret_jax.training.workdir.saved_arrays import saved_names
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError
from data_pipelines.paths import absolute

# Orbax merges what each process saved by a glob over the checkpoint's own path, which it does not escape: such a path
# matches nothing, or another run's files.
GLOB_SIGNS = "*?[\\"


def check_savable(workdir: AnyPath) -> None:
  """Raises InputError with path, reason and what to do where Orbax cannot restore what it saves in `workdir`."""
  path = absolute(workdir)
  if str(path).startswith("s3://"):
    raise InputError(
      f"--workdir={path} cannot be used: Orbax completes a checkpoint by renaming its folder there, which S3 does not "
      "have. Choose a gs:// address or a local folder"
    )
  try:
    os.fspath(path).encode()
  except UnicodeEncodeError as error:
    raise InputError(f"--workdir={ascii(str(path))[1:-1]} cannot be used: the path is not UTF-8. Rename it") from error
  found = [sign for sign in GLOB_SIGNS if sign in str(path)]
  if found:
    raise InputError(
      f"--workdir={path} cannot be used: no checkpoint can be restored that is saved under a path with "
      f"{' or '.join(found)}. Choose another folder, or rename this one"
    )


def check_restorable(checkpoint: AnyPath) -> None:
  """Raises InputError unless each array that a process saved is in the merged tables that a restore reads.

  `checkpoint` is a folder with a folder for each item. Reads the tables' names, no array.
  """
  for item in sorted(path.parent for path in checkpoint.glob("*/ocdbt.process_0")):
    saved = {name for part in item.iterdir() if part.name.startswith("ocdbt.process_") for name in saved_names(part)}
    lacking = sorted(saved - saved_names(item))
    if lacking:
      raise InputError(
        f"{checkpoint} cannot be restored: {item.name} lacks {len(lacking):,} of {len(saved):,} entries that were "
        f"saved, for example {lacking[0]}. The run stops, as nothing that it saves there could be read; choose another "
        "--workdir"
      )
