"""The place of a new bundle: a folder that it takes at once, or one of a bucket, where its description comes last."""

from collections.abc import Iterator
import contextlib
import pathlib
import tempfile

from composeret_jax.serving.bundle import layout
from data_pipelines.buckets.addresses import AnyPath, filesystem, is_address, objects, write_object
from data_pipelines.files import replaced
from data_pipelines.input_error import InputError

LAST = (layout.CHECKSUM, layout.INFO)  # without these no bundle is there


@contextlib.contextmanager
def placed(folder: AnyPath) -> Iterator[pathlib.Path]:
  """A local folder to write a bundle to, which is in `folder` when the block ends well, whole or not at all."""
  if not is_address(folder):
    with replaced(folder) as partial:
      yield partial
    return
  with tempfile.TemporaryDirectory(prefix="composeret_bundle_") as partial_name:
    partial = pathlib.Path(partial_name)
    yield partial
    names = sorted({path.name for path in partial.iterdir()} - set(LAST))
    filesystem(folder).put([str(partial / name) for name in names], [f"{folder}/{name}" for name in names])
    for name in LAST:
      write_object(folder / name, (partial / name).read_bytes())


def check_replaceable(folder: AnyPath) -> None:
  """Raises InputError when `folder` holds anything but the files that a bundle's own description lists.

  A bucket cannot exchange two folders: there anything but what an interrupted export has left is refused.
  """
  if is_address(folder):
    _check_empty(folder)
    return
  if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
    return
  try:
    info, _ = layout.read_info(folder)
  except (InputError, OSError) as error:
    raise InputError(f"--bundle={folder} is there and is no bundle: it is not overwritten ({error})") from error
  others = sorted({path.name for path in folder.iterdir()} - {layout.INFO, layout.CHECKSUM, *info["files"]})
  if others:
    raise InputError(
      f"--bundle={folder} has files that its bundle does not list: {', '.join(others[:5])}. It is not overwritten; "
      "move them elsewhere, or choose another folder."
    )


def _check_empty(folder: AnyPath) -> None:
  found = set(objects(folder))
  if layout.INFO in found:
    raise InputError(
      f"--bundle={folder} is there: a bucket cannot put one bundle into the place of another at once. Choose another "
      "folder, or delete this one"
    )
  files = {layout.WEIGHTS, layout.CHECKSUM, *layout.TEXT_FILES.values()}
  files |= {name(program) for program in layout.PROGRAMS for name in (layout.program_file, layout.onnx_file)}
  if found - files:
    others = ", ".join(sorted(found - files)[:5])
    raise InputError(f"--bundle={folder} holds what is of no bundle: {others}. Choose another folder")
