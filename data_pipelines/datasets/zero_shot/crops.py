"""Parts of images that stand for one object: GeneCIS' instances, and the regions of Pic2Word's COCO queries."""

import io
import pathlib

from PIL import Image

from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import FORMATS, readable

DILATION = 0.7  # by how much GeneCIS makes a box longer

Number = int | float


Box = tuple[Number, Number, Number, Number]


def instance_crop(image: Image.Image, box: Box) -> Image.Image:
  """The instance in `box` as GeneCIS cuts it out: a square with black beside the shorter side.

  The box, (left, top, width, height) in pixels, begins DILATION times its size further left and further up, or at the
  image's border, and is 1 + DILATION times as large. So it grows to the left and upwards alone, unless the border is
  nearer: GeneCIS' numbers are of these crops. Corners are rounded half to even. Raises ValueError for a box beside the
  image.
  """
  x, y, width, height = box
  left, top = max(0, x - DILATION * width), max(0, y - DILATION * height)
  right = min(image.width, left + (1 + DILATION) * width)
  bottom = min(image.height, top + (1 + DILATION) * height)
  corners = (round(left), round(top), round(right), round(bottom))
  side = max(corners[2] - corners[0], corners[3] - corners[1])
  if corners[0] > corners[2] or corners[1] > corners[3] or not side:
    raise ValueError(f"the box {list(box)} has nothing of its {image.width} x {image.height} pixels")
  crop = image.crop(corners)
  square = Image.new(crop.mode, (side, side))
  square.paste(crop, ((side - crop.width) // 2, (side - crop.height) // 2))
  return square


def stretched_region(image: Image.Image, corners: tuple[int, int, int, int]) -> Image.Image:
  """The region between `corners` (left, top, right, bottom), both sides as long as the longer one.

  Pic2Word brings a region's two sides to the model's size; it is made square here, so that every resizing keeps all of
  it. Raises ValueError for an empty region.
  """
  left, top, right, bottom = corners
  if left >= right or top >= bottom:
    raise ValueError(f"the region {list(corners)} is empty")
  side = max(right - left, bottom - top)
  return image.crop(corners).resize((side, side), Image.Resampling.BICUBIC)


def encoded_instance(path: pathlib.Path, box: Box) -> bytes:
  """`instance_crop` of a file, as PNG; raises InputError with the file where it cannot be cut out."""
  return _png(path, lambda image: instance_crop(image, box))


def encoded_region(path: pathlib.Path, corners: tuple[int, int, int, int]) -> bytes:
  """`stretched_region` of a file, as PNG; raises InputError with the file where it cannot be cut out."""
  return _png(path, lambda image: stretched_region(image, corners))


def _png(path: pathlib.Path, cut) -> bytes:
  if not path.is_file():
    raise InputError(f"{path} is not there")
  with readable(str(path)), Image.open(path, formats=FORMATS) as image:
    part = cut(image if image.mode in ("L", "RGB") else image.convert("RGB"))
  buffer = io.BytesIO()
  part.save(buffer, "PNG", compress_level=1)
  return buffer.getvalue()
