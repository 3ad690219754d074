"""Bundles on the Hugging Face hub: `hf://ORG/NAME`, or `hf://ORG/NAME@REVISION`."""

import importlib
import pathlib
import re

from data_pipelines.input_error import InputError
from data_pipelines.paths import prepared_folder

PREFIX = "hf://"

_ADDRESS = re.compile(r"hf://(\w[\w.-]*)/(\w[\w.-]*)(?:@(\w[\w.-]*))?")


def fetch(address: str) -> pathlib.Path:
  """The local copy of a repository's bundle, in the user's cache folder; fetches what is missing or has changed there.

  Without a network it is what was fetched before. Raises InputError when there is no such repository, or no
  huggingface_hub.
  """
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise InputError(f"{address[:200]} is no bundle of the hub, expected hf://ORG/NAME or hf://ORG/NAME@REVISION")
  try:
    hub = importlib.import_module("huggingface_hub")
  except ImportError as error:
    raise InputError(f"{address} needs huggingface_hub: pip install huggingface_hub ({error})") from error
  owner, name, revision = match.groups()
  # Not the hub's own cache, whose files are links: a bundle's files are in its folder.
  folder = prepared_folder("") / "hub" / f"{owner}--{name}" / (revision or "main")
  try:
    # A bundle is the files at the top; what folders hold, as towers/, is for others.
    hub.snapshot_download(f"{owner}/{name}", revision=revision, local_dir=folder, ignore_patterns=["*/*"])
  except (OSError, ValueError) as error:
    reason = str(error).strip().partition("\n")[0][:300]
    raise InputError(f"{address} could not be fetched from the hub: {reason}") from error
  return folder
