"""Pretrained image and text towers: folders and hub repositories as transformers has them."""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib
from typing import Any

from flax import nnx
import jax.numpy as jnp
from jaxtyping import Float
import ml_collections
import numpy as np

from composeret_jax.models.encoders.text_tower import ClipText, TextTower
from composeret_jax.models.encoders.transformer import ACTIVATIONS, Compute
from composeret_jax.models.encoders.vit import Vit
from composeret_jax.pretrained.files import find_folder, read_json, read_tensors, WEIGHT_FILES, weight_files
from composeret_jax.pretrained.hub.config import CONFIG, read_config
from composeret_jax.pretrained.hub.tokenizer import SENTENCEPIECE, TOWER_FILES, WHOLE
from composeret_jax.pretrained.slots import fill, Slots
from composeret_jax.pretrained.towers import clip, dinov2, siglip
from composeret_jax.pretrained.towers.preprocessing import PREPROCESSING, PROCESSOR, read_preprocessing
from data_pipelines.files import file_sha256
from data_pipelines.input_error import InputError

# The cubic kernel's parameter as PyTorch has it, by which transformers resizes positions; jax.image has -0.5.
CUBIC = -0.75


def resized_positions(
  positions: Float[np.ndarray, "num dim"], num_patches: int, num_tokens: int
) -> Float[np.ndarray, "new_num dim"]:
  """Bicubically interpolated to a square of `num_patches`; the first `num_tokens` belong to no patch, and stay."""
  tokens, patches = positions[:num_tokens], positions[num_tokens:]
  if len(patches) == num_patches:
    return positions
  side, new_side = round(len(patches) ** 0.5), round(num_patches**0.5)
  along = cubic_weights(side, new_side)
  grid = patches.reshape(side, side, -1)
  resized = np.einsum("yi,xj,ijd->yxd", along, along, grid, optimize=True).astype(positions.dtype)
  return np.concatenate([tokens, resized.reshape(num_patches, -1)])


def cubic_weights(size: int, new_size: int) -> Float[np.ndarray, "new_size size"]:
  """The weight of each old sample in each new one; the outermost old ones go on for ever."""
  centres = (np.arange(new_size) + 0.5) * size / new_size - 0.5
  first = np.floor(centres).astype(int)
  weights = np.zeros((new_size, size))
  for offset in (-1, 0, 1, 2):
    old = first + offset
    np.add.at(weights, (np.arange(new_size), np.clip(old, 0, size - 1)), _cubic(np.abs(centres - old)))
  return weights


def _cubic(distance: Float[np.ndarray, " num"]) -> Float[np.ndarray, " num"]:
  """Keys' convolution kernel ("Cubic Convolution Interpolation for Digital Image Processing", 1981)."""
  near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
  far = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
  return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


IMAGE_FIELD, TEXT_FIELD = "model.image_encoder.pretrained", "model.text_encoder.path"


IMAGE_FILES = (CONFIG, PREPROCESSING, PROCESSOR)
TEXT_FILES = (CONFIG, *TOWER_FILES)


# Files that count only where the other is missing: older checkpoints do not name them.
STAND_INS = {PROCESSOR: PREPROCESSING, SENTENCEPIECE: WHOLE}


# Buffers of counting numbers that older files have, and what is only of use in pre-training.
IGNORED = ("position_ids", "mask_token")


@dataclasses.dataclass(frozen=True)
class Family:
  """How one half of a model_type is read: its part of config.json, its tensors' prefixes, our module, its names.

  Some files leave out `optional_prefix`.
  """

  part: str
  prefixes: tuple[str, ...]
  build: Callable[..., Any]
  slots: Callable[[Any], Slots]
  positions: str = ""
  optional_prefix: str = ""


_CLIP_POSITIONS = "vision_model.embeddings.position_embedding.weight"
_CLIP_VIT = Family(
  "vision_config", ("vision_model.", "visual_projection."), clip.build_vit, clip.vit_slots, _CLIP_POSITIONS
)


_SIGLIP_VIT = Family("vision_config", ("vision_model.",), siglip.build_vit, siglip.vit_slots, _CLIP_POSITIONS)
_DINOV2 = Family("", ("",), dinov2.build_vit, dinov2.vit_slots, "embeddings.position_embeddings")
_CLIP_TEXT = Family("text_config", ("text_model.", "text_projection."), clip.build_text, clip.text_slots)
_SIGLIP_TEXT = Family("text_config", ("text_model.",), siglip.build_text, siglip.text_slots)


def _half(family: Family, optional_prefix: str = "") -> Family:
  """The family where a folder holds this half alone."""
  return dataclasses.replace(family, part="", optional_prefix=optional_prefix)


IMAGE_FAMILIES = {
  "clip": _CLIP_VIT,
  "clip_vision_model": _half(_CLIP_VIT),
  "siglip": _SIGLIP_VIT,
  "siglip_vision_model": _half(_SIGLIP_VIT, "vision_model."),
  "siglip2": _SIGLIP_VIT,
  "siglip2_vision_model": _half(_SIGLIP_VIT, "vision_model."),
  "dinov2": _DINOV2,
}


TEXT_FAMILIES = {
  "clip": _CLIP_TEXT,
  "clip_text_model": _half(_CLIP_TEXT),
  "siglip": _SIGLIP_TEXT,
  "siglip_text_model": _half(_SIGLIP_TEXT, "text_model."),
  "siglip2": _SIGLIP_TEXT,
  "siglip2_text_model": _half(_SIGLIP_TEXT, "text_model."),
}


@dataclasses.dataclass(frozen=True)
class TowerFolder:
  """A folder that holds a tower, and how it is read; `kind` is the model_type of which it may be one half."""

  path: pathlib.Path
  kind: str
  family: Family
  fields: Mapping[str, Any]
  files: tuple[str, ...]

  def fingerprints(self) -> dict[str, str]:
    """The SHA-256 of each file that the tower is read from."""
    names = [*self.files, *(file.name for file in weight_files(self.path))]
    there = [name for name in names if (self.path / name).is_file()]
    return {name: file_sha256(self.path / name) for name in there if STAND_INS.get(name) not in there}

  def load(self, tower: nnx.Module) -> None:
    """Fills a tower; raises InputError when weights are missing or do not fit, and leaves it untouched then."""
    slots = self.family.slots(tower)
    tensors = {name: tensor for name, tensor in self.tensors().items() if not name.endswith(IGNORED)}
    name = self.family.positions
    if name in tensors:
      # One position for each patch of the image; the class token's position does not change.
      *_, num, dim = slots[name].shape
      rows = tensors[name].reshape(-1, dim)
      num_tokens = len(rows) - round(len(rows) ** 0.5) ** 2
      tensors[name] = resized_positions(rows, num - num_tokens, num_tokens).reshape(slots[name].shape)
    fill(tensors, slots, f"{self.path} disagrees with its {CONFIG}: the weights")

  def tensors(self) -> dict[str, np.ndarray]:
    """The tensors of this half, by the names that whole models give them."""
    optional = self.family.optional_prefix
    tensors = read_tensors(self.path, ("",) if optional else self.family.prefixes)
    if optional and not any(name.startswith(optional) for name in tensors):
      return {optional + name: tensor for name, tensor in tensors.items()}
    return tensors


def open_image_folder(where: str) -> TowerFolder:
  """The folder or hub repository of an image tower; raises InputError when it is none that we can compute."""
  folder = find_folder(where, (*IMAGE_FILES, *WEIGHT_FILES), IMAGE_FIELD)
  return _open(folder, IMAGE_FAMILIES, IMAGE_FILES)


def open_text_folder(where: str) -> TowerFolder:
  """The folder or hub repository of a text tower; raises InputError when it is none that we can compute."""
  folder = find_folder(where, (*TEXT_FILES, *WEIGHT_FILES), TEXT_FIELD)
  return _open(folder, TEXT_FAMILIES, TEXT_FILES)


def _open(path: pathlib.Path, families: Mapping[str, Family], files: tuple[str, ...]) -> TowerFolder:
  file = path / CONFIG
  whole = read_config(file, families)
  model_type = whole["model_type"]
  family = families[model_type]
  if model_type.startswith("siglip2"):
    _check_resolution(file, read_json(file))
  fields = part_of(whole, family.part)
  for name, expected in (("use_swiglu_ffn", False), ("vision_use_head", True), ("qkv_bias", True), ("num_channels", 3)):
    if fields.get(name, expected) != expected:
      raise InputError(f"{file} has {name} {fields[name]!r}, expected {expected!r}")
  if fields["hidden_act"] not in ACTIVATIONS:
    raise InputError(f"{file} has hidden_act {fields['hidden_act']!r}, expected one of {', '.join(ACTIVATIONS)}")
  kind = model_type.removesuffix("_vision_model").removesuffix("_text_model")
  return TowerFolder(path, kind, family, fields, files)


def _check_resolution(file: pathlib.Path, whole: Mapping[str, Any]) -> None:
  """Raises InputError for NaFlex, whose patches are of images of any shape: its image tower has no `image_size`."""
  if whole["model_type"] != "siglip2_text_model":
    vision = whole.get("vision_config", {}) if whole["model_type"] == "siglip2" else whole
    if "num_patches" in vision or "image_size" not in vision:
      raise InputError(f"{file} is of a SigLIP 2 of many resolutions (NaFlex), expected one with a vision image_size")


def part_of(whole: Mapping[str, Any], part: str) -> dict[str, Any]:
  """A half's fields; the projection's width is the whole's."""
  if not part:
    return dict(whole)
  return dict(whole[part]) | ({"projection_dim": whole["projection_dim"]} if "projection_dim" in whole else {})


def build_image_tower(encoder_config: ml_collections.ConfigDict, image_size: int) -> Vit:
  """The tower that `encoder_config` (the `image_encoder` part of a model's) names, its weights zero.

  Raises InputError when an image of `image_size` has no whole patch.
  """
  folder = _open(find_folder(encoder_config.pretrained, IMAGE_FILES, IMAGE_FIELD), IMAGE_FAMILIES, IMAGE_FILES)
  colours = read_preprocessing(folder.path, folder.kind).colours
  tower = folder.family.build(folder.fields, image_size, colours, compute_of(encoder_config))
  patch_size = tower.embeddings.patch_size
  if image_size < patch_size:
    raise InputError(
      f"config.data.image_size is {image_size}, expected at least {patch_size}: a patch of {folder.path}"
    )
  return tower


def build_text_tower(encoder_config: ml_collections.ConfigDict) -> TextTower:
  """The text tower that `encoder_config` (the `text_encoder` part of a model's) names, its weights zero."""
  folder = _open(find_folder(encoder_config.path, (CONFIG,), TEXT_FIELD), TEXT_FAMILIES, (CONFIG,))
  return _built(encoder_config, folder)


def load_text_tower(encoder_config: ml_collections.ConfigDict, folder: TowerFolder) -> TextTower:
  """The text tower in a folder, computed as `encoder_config` (the `text_encoder` part of a model's) says.

  Raises InputError for an `unseen_id` where the tower is none of CLIP's.
  """
  tower = _built(encoder_config, folder)
  folder.load(tower)
  return tower


def _built(encoder_config: ml_collections.ConfigDict, folder: TowerFolder) -> TextTower:
  tower = folder.family.build(folder.fields, compute_of(encoder_config))
  if encoder_config.unseen_id >= 0:
    if not isinstance(tower, ClipText):
      raise InputError(
        f"config.model.text_encoder.unseen_id is {encoder_config.unseen_id}, expected -1: no CLIP's tower"
      )
    tower.unseen_id = encoder_config.unseen_id
  return tower


def compute_of(encoder_config: ml_collections.ConfigDict) -> Compute:
  """How an encoder's part of the configuration wants it to be computed."""
  return Compute(jnp.dtype(encoder_config.dtype), encoder_config.remat)
