"""Pushes a bundle to the Hugging Face hub, with a model card and, if they are given, its towers."""

from collections.abc import Iterator
import os
import pathlib
import re

from huggingface_hub import CommitOperationAdd, HfApi

from composeret_jax.export.model_card import model_card
from composeret_jax.pretrained.towers.tower_folder import CONFIG
from composeret_jax.serving.bundle import layout
from data_pipelines.input_error import InputError

TOWERS = "towers"  # the folder in the repository
CARD = "README.md"

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def push_bundle(
  bundle: str | os.PathLike,
  repo: str,
  *,
  towers: str | os.PathLike | None = None,
  licence: str = "",
  private: bool = False,
) -> str:
  """Puts the files of a bundle into the repository `repo` (ORG/NAME) of the hub, in one commit; returns its address.

  A repository that is not there is created, `private` or as the owner's settings say. The card, README.md, is made from
  the bundle's run and replaces the one that is there; `licence` is an identifier as apache-2.0. `towers`, a folder that
  `save_towers` wrote, goes to towers/. The hub's own settings hold: HF_ENDPOINT, and the token of `hf auth login`.
  bundle.json has the run's whole configuration, paths included. Raises InputError for a folder that is no whole bundle,
  and when the hub refuses.
  """
  if not _NAME.fullmatch(repo):
    raise InputError(f"--repo={repo} is no repository's name, expected ORG/NAME")
  folder = pathlib.Path(bundle)
  info, _ = layout.read_info(folder)
  layout.check_files(folder, info)
  files = {name: folder / name for name in (layout.INFO, layout.CHECKSUM, *info["files"])}
  if towers:
    files |= dict(_tower_files(pathlib.Path(towers)))
  card = model_card(repo, info, licence, has_towers=bool(towers)).encode()
  operations = [CommitOperationAdd(CARD, card)]
  operations += [CommitOperationAdd(name, str(file)) for name, file in files.items()]
  api = HfApi()
  try:
    api.create_repo(repo, private=private or None, exist_ok=True)  # None: as the owner's settings say
    api.create_commit(repo, operations, commit_message=f"Add the bundle of step {info['step']}")
  except (OSError, ValueError) as error:
    reason = str(error).strip().partition("\n")[0][:300]
    raise InputError(f"--repo={repo}: the hub did not take the bundle: {reason}") from error
  return f"{api.endpoint}/{repo}"


def _tower_files(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
  """The files of a towers' folder by their names in the repository; raises InputError where it holds no towers."""
  if not folder.is_dir() or not [*folder.glob(CONFIG), *folder.glob(f"*/{CONFIG}")]:
    raise InputError(f"--towers={folder} has no {CONFIG}, expected a folder that `composeret save_towers` wrote")
  for file in sorted(folder.rglob("*")):
    if file.is_file():
      yield f"{TOWERS}/{file.relative_to(folder).as_posix()}", file
