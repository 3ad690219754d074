"""Where prepared data sets, and what was made from them, are kept."""

import os
import pathlib


def prepared_folder(configured: str) -> pathlib.Path:
  """What the configuration says; by default `composeret_jax` in the user's cache folder."""
  default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "composeret_jax"
  return pathlib.Path(configured or default).expanduser()
