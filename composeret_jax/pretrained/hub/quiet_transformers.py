"""The library transformers, without PyTorch."""

import os
from typing import Any


def transformers() -> Any:
  """The library, silent but for errors; imported on first use, as that takes a second."""
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # else it misses PyTorch on each import
  import transformers

  transformers.logging.set_verbosity_error()
  return transformers


# Nothing but the files of a folder: no network, no code that comes with a model.
FROM_FILES = {"local_files_only": True, "trust_remote_code": False}
