"""Compiled programs on the disk, so that the next start of a run does not compile them again."""

import jax
from jax.experimental.compilation_cache import compilation_cache

from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path


def keep_compiled_programs(folder: str) -> None:
  """From now on this process reads its programs from `folder`, or writes them there; an empty name changes nothing.

  A program is found again by its content, the version of JAX and the kind of device. Several processes may share the
  folder. Raises InputError when it cannot be made.
  """
  if not folder:
    return
  path = local_path(folder, "config.data.compilation_cache")
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(f"config.data.compilation_cache={folder} is no folder: {error.strerror}") from error
  jax.config.update("jax_compilation_cache_dir", str(path))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # the quick ones too: there are hundreds
  compilation_cache.reset_cache()  # a process that has compiled before has opened another
