"""Says which fields there are, where an override names none of them."""

from collections.abc import Sequence
import re

import ml_collections


def unknown_field(arguments: Sequence[str], config: ml_collections.ConfigDict) -> str:
  """A message on the first `--config.FIELD` that `config` lacks, with the fields of its group; "" if there is none."""
  overrides = (re.match(r"--?config\.([\w.]+)", argument) for argument in arguments)
  for full_name in (match[1] for match in overrides if match):
    group, path = config, "config"
    for name in full_name.split("."):
      if not isinstance(group, ml_collections.ConfigDict):
        return f"--config.{full_name}: {path} is a value, and no group of fields"
      if name not in group:
        return f"--config.{full_name}: {path} has no field {name!r}; it has {', '.join(sorted(group)) or 'none'}"
      group, path = group[name], f"{path}.{name}"
  return ""
