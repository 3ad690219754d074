"""Images in any form, to the pixels that the model was trained on."""

from collections.abc import Mapping, Sequence
import dataclasses
import logging
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from composeret_jax.serving.bundle.layout import TEXT_FILES, WORD_PIECES, WORDS
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image, readable, Resizing, square_pixels
from data_pipelines.texts.templates import AS_TYPED, CAPTION
from data_pipelines.texts.vocabulary import PADDING, Vocabulary
from data_pipelines.texts.wordpieces import WordPieces
from data_pipelines.texts.words import SPLITTERS
from data_pipelines.untrusted_json import is_texts, read_json

# A path, an encoded image, an open one, or uint8 pixels [height, width, 3] of any size.
ImageInput = str | os.PathLike | bytes | Image.Image | np.ndarray


# A list of them, or an array of pixels [num, height, width, 3].
Images = Sequence[ImageInput] | np.ndarray


def to_pixels(image: ImageInput, size: int, resizing: Resizing, name: str) -> np.ndarray:
  """uint8 pixels [size, size, 3], prepared as in training; raises InputError with the path or the `name`.

  An array of that size is taken for pixels that are prepared already.
  """
  if isinstance(image, np.ndarray):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
      raise InputError(f"{name} is an array {image.dtype}{list(image.shape)}, expected uint8[height, width, 3]")
    if image.shape[:2] == (size, size):
      return image
    image = Image.fromarray(np.ascontiguousarray(image))
  if isinstance(image, Image.Image):
    with readable(name):
      return square_pixels(image, size, resizing)
  if isinstance(image, bytes):
    return decode_image(image, size, name, resizing)
  path = pathlib.Path(image)
  try:
    if path.exists() and not path.is_file():
      raise InputError(f"{image} is no file")  # reading a device may not end
    encoded = path.read_bytes()
  except OSError as error:
    raise InputError(f"{image} cannot be read: {error.strerror}") from error
  except ValueError as error:  # a zero byte
    raise InputError(f"{str(image)!r} is no path: {error}") from error
  return decode_image(encoded, size, str(image), resizing)


SHORTEST = 8


@dataclasses.dataclass(frozen=True)
class TokenBatches:
  """Any texts to ids, padded to few different lengths; what goes beyond `max_length` ids is cut off, with a warning."""

  reader: Vocabulary | WordPieces
  max_length: int

  def __call__(self, texts: Sequence[str], template: str = AS_TYPED) -> np.ndarray:
    """int32 [num, length], padded with negative numbers; length is a power of two from SHORTEST on, or the largest.

    `template` says what each text is put into. Raises InputError for a text of which no word is known; a blank text has
    none, and passes.
    """
    for text in texts:
      if text.strip() and not self.reader.knows(text):
        named = ", ".join(self.reader.unknown(text)[:10])[:200]
        raise InputError(f"no word of {text[:50]!r} is known to the model{f': {named}' if named else ''}")
    texts = [template.format_map({CAPTION: text}) for text in texts]
    if isinstance(self.reader, WordPieces):
      self.reader.warn_of_cuts(texts)
    tokens = self.reader.encode(texts)
    if tokens.shape[1] > self.max_length:
      num_cut = int((tokens[:, self.max_length] != PADDING).sum())
      message = "%d of %d texts have more than the %d words that this bundle takes; the rest of each is cut off"
      logging.getLogger(__name__).warning(message, num_cut, len(tokens), self.max_length)
      tokens = tokens[:, : self.max_length]
    power_of_two = 1 << (max(tokens.shape[1], SHORTEST) - 1).bit_length()
    padding = min(power_of_two, self.max_length) - tokens.shape[1]
    return np.pad(tokens, ((0, 0), (0, padding)), constant_values=PADDING)

  def unknown(self, text: str) -> list[str]:
    """The words of a text that the model does not know, each once."""
    return self.reader.unknown(text)


def read_tokens(folder: pathlib.Path, text: Mapping[str, Any]) -> TokenBatches:
  """From a bundle's folder and the `text` part of its description; raises InputError when the file is no such thing."""
  if text["kind"] != WORDS:
    file, plain_signs = folder / TEXT_FILES[WORD_PIECES], text.get("plain_signs", False)  # older bundles do not say
    return TokenBatches(WordPieces.from_file(file, text["max_length"], plain_signs=plain_signs), text["max_length"])
  file = folder / TEXT_FILES[WORDS]
  words = read_json(file)
  if not is_texts(words):
    raise InputError(f"{file} is no list of words")
  splitter = text.get("splitter", "ascii")  # bundles made before say none
  if splitter not in SPLITTERS:
    raise InputError(f"{folder} splits texts by {str(splitter)[:20]!r}, this program by {' or '.join(SPLITTERS)}")
  return TokenBatches(Vocabulary(tuple(words), splitter), text["max_length"])
