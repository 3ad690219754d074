"""The small picture that is kept of an image."""

import io

from PIL import Image, ImageOps

from data_pipelines.pixels.decode import readable

SIDE = 160


def thumbnail(encoded: bytes, name: str) -> bytes:
  """A JPEG of the image, at most SIDE pixels wide and high; raises InputError with `name` when it is not whole."""
  stream = io.BytesIO()
  with readable(name), Image.open(io.BytesIO(encoded)) as image:
    image.draft("RGB", (SIDE, SIDE))
    image.load()  # or `thumbnail` asks for another draft
    ImageOps.exif_transpose(image, in_place=True)
    upright = image if image.mode == "RGB" else image.convert("RGB")  # large images: no copy that is not needed
    upright.thumbnail((SIDE, SIDE))
    upright.save(stream, "JPEG", quality=85)
  return stream.getvalue()


def open_thumbnail(jpeg: bytes, name: str) -> Image.Image:
  """The thumbnail that an index keeps of `name`, decoded small; raises InputError when it is no whole JPEG."""
  with readable(f"the thumbnail of {name}"):
    image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    image.draft("RGB", (SIDE, SIDE))
    image.load()
  return image
