"""A bundle that is open: encodes images and composes them with texts."""

from collections.abc import Callable, Mapping, Sequence
import logging
import os
import pathlib
import time
from typing import Any

import jax
import numpy as np
import safetensors

from composeret_jax.serving.bundle.hub import fetch, PREFIX
from composeret_jax.serving.bundle.inputs import ImageInput, Images, read_tokens, to_pixels, TokenBatches
from composeret_jax.serving.bundle.layout import (
  check_files,
  COMPOSE_FEATURES,
  COMPOSE_QUERY,
  COMPOSE_TEXTS,
  ENCODE_GALLERY,
  read_info,
  WEIGHTS,
)
from composeret_jax.serving.bundle.programs import read_program
from data_pipelines.buckets.addresses import is_address
from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path
from data_pipelines.pixels.decode import DECODER_VERSION, Resizing
from data_pipelines.texts.templates import AS_TYPED

# Programs run on batches of these sizes, padded: few shapes are compiled, and a row's feature does not depend on the
# rows beside it. Batches of different sizes give features that differ by rounding (1e-7).
BATCH_SIZES = (1, 8, 64)
SLOW_SECONDS = 1.0  # a first call that takes so long is explained
NUM_SHOWN = 3  # metrics in a bundle's repr


FeaturesAndNorms = tuple[np.ndarray, np.ndarray]


class Bundle:
  """A trained model. Features are NumPy's float32 [num, feature_dim], rows of length 1, compared by inner product.

  A composer takes an image's raw feature, whose length the unit feature has lost: `norms`, float32 [num], are these
  lengths, and `feature * norm` is the raw feature. Images are paths, bytes, PIL images or uint8 arrays [height, width,
  3] of any size. Any number of rows; they go through the device in batches of BATCH_SIZES, each compiled on first use.
  May be called from several threads. Texts are as users type them: they are put into the templates of
  `info["text_templates"]`, where there are some, and a query is the mean over these.

  `image_size` is the side in pixels to which `resizing` brings images. `composes_features` says whether
  `compose_features` works: not for a composer that needs the image, as it composes the image encoder's maps, or the
  gallery's images too.
  """

  def __init__(
    self,
    info: Mapping[str, Any],
    fingerprint: str,
    programs: Mapping[str, Callable],
    weights: Mapping[str, jax.Array],
    tokens: TokenBatches,
  ):
    """`info` is bundle.json's content and `fingerprint` its SHA-256, by which an index knows whose features it has."""
    self.info = info
    self.fingerprint = fingerprint
    self.feature_dim: int = info["feature_dim"]
    self.image_size: int = info["image_size"]
    self.resizing = Resizing(info["resize"], info["interpolation"])
    self.composes_features = COMPOSE_FEATURES in programs
    self._templates: Sequence[str] = info.get("text_templates", (AS_TYPED,))
    self._programs = programs
    self._weights = weights
    self._tokens = tokens
    self._compiled: set[tuple] = set()

  def __repr__(self) -> str:
    config, metrics = self.info.get("config", {}), self.info.get("metrics", {})
    model, data = config.get("model", {}).get("composer", "?"), config.get("data", {}).get("dataset", "?")
    recalls = ", ".join(f"{name} {metrics[name]:.3f}" for name in list(metrics)[:NUM_SHOWN] if "@" in name)
    return (
      f"<Bundle {model} trained on {data}, step {self.info.get('step', '?')}{f': {recalls}' if recalls else ''}; "
      f"images of {self.image_size} pixels, features [{self.feature_dim}], {self.fingerprint[:8]}>"
    )

  def encode(self, images: Images) -> np.ndarray:
    """The features of gallery images; raises InputError with an image's path or number when it cannot be read."""
    return self.encode_with_norms(images)[0]

  def encode_with_norms(self, images: Images) -> FeaturesAndNorms:
    """The features of gallery images, and the lengths of their raw features."""
    _check_sequence("images", images)
    return self._run(ENCODE_GALLERY, len(images), lambda rows: [self._pixels(images, rows)])

  def unknown_words(self, text: str) -> list[str]:
    """The words of a text that the model does not know, each once; a text of none but these is refused."""
    return self._tokens.unknown(text)

  def compose(self, images: Images, texts: Sequence[str]) -> np.ndarray:
    """The features of what each text makes of its image."""
    return self.compose_with_norms(images, texts)[0]

  def compose_with_norms(self, images: Images, texts: Sequence[str]) -> FeaturesAndNorms:
    """`compose`, and the lengths of the raw composed features, with which a next text can turn them further."""
    _check_sequence("images", images)
    _check_texts(texts, len(images))
    return self._composed(COMPOSE_QUERY, texts, lambda rows: [self._pixels(images, rows)])

  def compose_features(self, features: np.ndarray, texts: Sequence[str], norms: np.ndarray | None = None) -> np.ndarray:
    """The features of what each text makes of an encoded image, or of a composed query.

    `norms` are the lengths that came with the features; None stands for the mean of the gallery that the model was
    evaluated on. Raises InputError when not `composes_features`.
    """
    return self.compose_features_with_norms(features, texts, norms)[0]

  def compose_features_with_norms(
    self, features: np.ndarray, texts: Sequence[str], norms: np.ndarray | None = None
  ) -> FeaturesAndNorms:
    """`compose_features`, and the lengths of the raw composed features."""
    if not self.composes_features:
      raise InputError("this bundle's composer needs the image, not its feature in a gallery")
    features = _rows("features", features, (len(features), self.feature_dim))
    norms = np.full(len(features), self.info["mean_norm"]) if norms is None else norms
    norms = _rows("norms", norms, (len(features),))
    _check_texts(texts, len(features))
    return self._composed(COMPOSE_FEATURES, texts, lambda rows: [features[rows], norms[rows]])

  def text_only(self, texts: Sequence[str]) -> np.ndarray:
    """The features of what each text makes of the mean reference of the gallery that the model was evaluated on."""
    return self.text_only_with_norms(texts)[0]

  def text_only_with_norms(self, texts: Sequence[str]) -> FeaturesAndNorms:
    """`text_only`, and the lengths of the raw features, with which a next text can turn them further."""
    _check_texts(texts, len(texts))
    return self._composed(COMPOSE_TEXTS, texts, lambda rows: [])

  def _composed(
    self, program: str, texts: Sequence[str], inputs: Callable[[slice], list[np.ndarray]]
  ) -> FeaturesAndNorms:
    """A program over all texts in each template: the mean of the features, at length 1 again, and the mean norm."""

    def in_template(template: str) -> FeaturesAndNorms:
      return self._run(program, len(texts), lambda rows: [*inputs(rows), self._tokens(texts[rows], template)])

    features, norms = zip(*map(in_template, self._templates), strict=True)
    if len(features) == 1:
      return features[0], norms[0]
    mean = np.mean(features, axis=0, dtype=np.float32)
    lengths = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return mean / lengths, np.asarray(np.mean(norms, axis=0, dtype=np.float32))

  def _pixels(self, images: Images, rows: slice) -> np.ndarray:
    """uint8 pixels [num, image_size, image_size, 3]; an image without a name goes by its number."""
    numbered = enumerate(images[rows], rows.start)
    pixels = [to_pixels(image, self.image_size, self.resizing, f"image {number}") for number, image in numbered]
    return np.stack(pixels)

  def _run(self, program: str, num_rows: int, inputs: Callable[[slice], list[np.ndarray]]) -> FeaturesAndNorms:
    """A program over all rows; `inputs` gives its arguments for some of them."""
    parts: list[FeaturesAndNorms] = [(np.zeros((0, self.feature_dim), np.float32), np.zeros(0, np.float32))]
    for start in range(0, num_rows, BATCH_SIZES[-1]):
      arrays = inputs(slice(start, min(start + BATCH_SIZES[-1], num_rows)))
      count = len(arrays[0])
      batch_size = next(size for size in BATCH_SIZES if size >= count)
      padded = [np.concatenate([array, np.repeat(array[-1:], batch_size - count, axis=0)]) for array in arrays]
      shape = (program, *(array.shape for array in padded))
      began = time.monotonic()
      try:
        features, norms = map(np.asarray, self._programs[program](self._weights, *padded))
      except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"the bundle's program {program} cannot be run: {reason}") from error
      if shape not in self._compiled:
        self._compiled.add(shape)
        _say_if_slow(program, len(padded[0]), time.monotonic() - began)
      if not (np.isfinite(features).all() and np.isfinite(norms).all()):
        raise InputError(f"the bundle's program {program} gives features that are not finite")
      parts.append((features[:count], norms[:count]))
    all_features, all_norms = zip(*parts, strict=True)
    return np.concatenate(all_features), np.concatenate(all_norms)


def load(folder: str | os.PathLike) -> Bundle:
  """Opens a bundle that `composeret export` wrote, from its folder or, as `hf://ORG/NAME[@REVISION]`, from the hub.

  Raises InputError, with the file, for a folder that is no bundle or one of another format version, for a file that is
  missing, changed or outside the folder, and for parts that do not fit each other, whatever their checksums say.
  Programs only compute, but for how long and in how much memory is theirs: open bundles of people you trust.
  """
  address = os.fspath(folder)
  if is_address(address):
    from data_pipelines.buckets.fetched import local_copy  # needs more packages than a bundle does

    address = os.fspath(local_copy(address, "--bundle"))
  folder = fetch(address) if address.startswith(PREFIX) else local_path(address, "--bundle")
  info, fingerprint = read_info(folder)
  version = info["decoder_version"]
  if version != DECODER_VERSION:
    raise InputError(f"{folder} was trained on pixels of decoder {version}, this program's is {DECODER_VERSION}")
  check_files(folder, info)
  programs = {name: read_program(folder, name, info) for name in info["programs"]}
  weights = _read_arrays(folder / WEIGHTS, info["arrays"])
  return Bundle(info, fingerprint, programs, weights, read_tokens(folder, info["text"]))


def _read_arrays(file: pathlib.Path, expected: Mapping[str, Any]) -> dict[str, jax.Array]:
  """All arrays on the default device; types and shapes are looked at in the file's header, before any is read."""
  try:
    with safetensors.safe_open(file, framework="numpy") as tensors:
      slices = {name: tensors.get_slice(name) for name in list(tensors.keys())}
      found = {name: {"dtype": array.get_dtype(), "shape": array.get_shape()} for name, array in slices.items()}
      if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise InputError(f"{file} holds other arrays than bundle.json says: {', '.join(wrong)[:300]}")
      arrays = {}
      for name in slices:
        array = tensors.get_tensor(name)
        if not np.isfinite(array).all():
          raise InputError(f"{file} has numbers in {name} that are not finite")
        arrays[name] = jax.device_put(array)
      return arrays
  except (safetensors.SafetensorError, OSError) as error:
    raise InputError(f"{file} cannot be read as safetensors: {str(error)[:300]}") from error


def _say_if_slow(program: str, num_rows: int, seconds: float) -> None:
  """Explains the wait for a program's first call, where there was one."""
  if seconds >= SLOW_SECONDS:
    logging.getLogger(__name__).warning(
      "The first %s of %d rows took %.1f s: the program was compiled for %s. Later ones do not wait for this",
      program,
      num_rows,
      seconds,
      jax.default_backend(),
    )


def _rows(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  array = np.asarray(array, np.float32)
  if array.shape != shape:
    raise InputError(f"{name} have shape {list(array.shape)}, expected {list(shape)}")
  return array


def _check_sequence(name: str, values) -> None:
  if isinstance(values, ImageInput) and not (isinstance(values, np.ndarray) and values.ndim == 4):
    raise InputError(f"{name} is a single {type(values).__name__}, expected a list")


def _check_texts(texts: Sequence[str], expected: int) -> None:
  if isinstance(texts, str):
    raise InputError("texts is a single str, expected a list")
  if len(texts) != expected:
    raise InputError(f"{len(texts)} texts for {expected} references, expected one for each")
