"""The small picture that is kept of an image."""

import io

from PIL import Image, ImageOps

from data_pipelines.pixels.decode import readable

SIDE = 320  # pixels: twice what a card of the page has, for dense screens
QUALITIES = (85, 70, 50, 30)  # the first by which it has at most MOST_BYTES
MOST_BYTES = 48_000  # what Milvus takes as a text; a photograph has a third of it


def thumbnail(encoded: bytes, name: str) -> bytes:
  """A JPEG of the image, at most SIDE pixels wide and high and of at most MOST_BYTES.

  Raises InputError with `name` when the image is not whole.
  """
  with readable(name), Image.open(io.BytesIO(encoded)) as image:
    image.draft("RGB", (SIDE, SIDE))
    image.load()  # or `thumbnail` asks for another draft
    ImageOps.exif_transpose(image, in_place=True)
    upright = image if image.mode == "RGB" else image.convert("RGB")  # large images: no copy that is not needed
    upright.thumbnail((SIDE, SIDE))
  for quality in QUALITIES:
    stream = io.BytesIO()
    upright.save(stream, "JPEG", quality=quality)
    if stream.tell() <= MOST_BYTES:
      break
  return stream.getvalue()


def open_thumbnail(jpeg: bytes, name: str) -> Image.Image:
  """The thumbnail that an index keeps of `name`, decoded small; raises InputError when it is no whole JPEG."""
  with readable(f"the thumbnail of {name}"):
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    image.draft("RGB", (SIDE, SIDE))
    image.load()
  return image
