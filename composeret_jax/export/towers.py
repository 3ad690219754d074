"""The towers of a run's newest checkpoint as a Hugging Face folder, which another run and transformers can load."""

from collections.abc import Iterator, Mapping, Sequence
import json
import pathlib
import shutil
from typing import Any, NamedTuple

from flax import nnx
import ml_collections
import numpy as np
from safetensors.numpy import save

from composeret_jax.distributed import is_first
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.files import read_json, read_tensors, WEIGHTS, WEIGHTS_INDEX
from composeret_jax.pretrained.hub.config import CONFIG
from composeret_jax.pretrained.towers.preprocessing import preprocessing_file, with_image_size
from composeret_jax.pretrained.towers.tower_folder import open_image_folder, open_text_folder, TowerFolder
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import trained_state
from composeret_jax.training.run import open_trained_run
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.files import replaced
from data_pipelines.input_error import InputError

# Of a source folder, what is copied: tokenizers and descriptions, but no other weights.
COPIED_SUFFIXES = (".json", ".txt", ".model")


class Trained(NamedTuple):
  """A tower that a run has trained, the folder that it came from, and the side of its images (0: it reads texts)."""

  source: TowerFolder
  tower: nnx.Module
  image_size: int


def save_towers(
  config: ml_collections.ConfigDict, workdir: AnyPath, folder: pathlib.Path, checkpoint_step: str = ""
) -> None:
  """Writes the fine-tuned towers of a checkpoint in `workdir`, which `trained_state` chooses, whole or not at all.

  Of a folder that both towers came from, both halves are written, a frozen one as it was. Towers of two folders go to
  `image_encoder` and `text_encoder` inside. Linear layers of our own behind the towers are not part of them. Raises
  InputError when no tower is fine-tuned, when there is no checkpoint, and when there is something at `folder`.
  """
  folder = folder.resolve()
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise InputError(f"--towers={folder} is there: it is not overwritten")
  names = trained_names(config.model)
  if not names:
    raise InputError("no tower of this configuration is fine-tuned: they are what their folders hold")
  run = open_trained_run(config, workdir)
  state = trained_state(run, checkpoint_step)
  model = nnx.merge(nnx.graphdef(run.model), *evaluated_variables(state), copy=True)
  if not is_first():
    return
  towers = trained_towers(model, names, config)
  sources = {tower.source.path.resolve() for tower in towers.values()}
  with replaced(folder) as partial:
    if len(sources) == 1:
      write_folder(partial, list(towers.values()))
    else:
      for name, tower in towers.items():
        write_folder(partial / name, [tower])
  print(f"Towers: {folder}")


def trained_names(model: ml_collections.ConfigDict) -> list[str]:
  """The encoders of a model's configuration that are fine-tuned towers."""
  image, text = model.image_encoder, model.text_encoder
  trained = {
    "image_encoder": image.name == "tower" and not image.frozen,
    "text_encoder": text.name == "tower" and text.fine_tune,
  }
  return [name for name, is_trained in trained.items() if is_trained]


def trained_towers(
  model: RetrievalModel, names: Sequence[str], config: ml_collections.ConfigDict
) -> dict[str, Trained]:
  """The towers called `names` of a model with this whole configuration."""
  towers = {
    "image_encoder": lambda encoder: (open_image_folder(encoder.pretrained), config.data.image_size),
    "text_encoder": lambda encoder: (open_text_folder(encoder.path), 0),
  }
  found = {}
  for name in names:
    source, image_size = towers[name](config.model[name])
    found[name] = Trained(source, getattr(model, name).trunk, image_size)
  return found


def write_folder(folder: pathlib.Path, towers: Sequence[Trained]) -> None:
  """The folder that all of `towers` came from, with their weights in place of what it has."""
  source = towers[0].source.path
  folder.mkdir(exist_ok=True)
  for file in source.iterdir():
    if file.suffix in COPIED_SUFFIXES and file.name != WEIGHTS_INDEX:
      shutil.copyfile(file, folder / file.name)
  tensors, config = read_tensors(source), read_json(source / CONFIG)
  for tower in towers:
    tensors |= dict(own_tensors(tower, tensors))
    if tower.image_size:
      set_image_size(config, tower)
      file = preprocessing_file(source)
      preprocessing = with_image_size(read_json(file), tower.image_size)
      (folder / file.name).write_text(json.dumps(preprocessing, indent=2) + "\n")
  config |= {name: "float32" for name in ("dtype", "torch_dtype") if name in config}
  (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
  (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))  # save_file's is for its owner alone


def own_tensors(tower: Trained, names: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
  """A tower's weights under the names that its source has: those that begin all others there may be left out."""
  prefix = tower.source.family.optional_prefix
  is_left_out = bool(prefix) and not any(name.startswith(prefix) for name in names)
  for name, slot in tower.source.family.slots(tower.tower).items():
    yield name.removeprefix(prefix) if is_left_out else name, slot.read()


def set_image_size(config: dict[str, Any], tower: Trained) -> None:
  """Puts the size into the part of config.json that the tower is built from, wherever an old file has it."""
  part = tower.source.family.part
  parts = [config.setdefault(part, {}), config.get(f"{part}_dict")] if part else [config]
  for fields in parts:
    if fields is not None:
      fields["image_size"] = tower.image_size
