"""Pictures of packages as the corpora hold them: 96 pixels square, on white, as JPEG."""

import io

from PIL import Image

PIXELS = 96
QUALITY = 88


def drawn(svg: bytes) -> bytes:
  """A drawing; `currentColor` is black."""
  import resvg_py  # of the extra bench

  return on_white(resvg_py.svg_to_bytes(svg_string=svg.decode(), width=PIXELS, height=PIXELS, skip_system_fonts=True))


def on_white(encoded: bytes) -> bytes:
  """A picture with transparent parts, scaled where it has another size."""
  picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
  if picture.size != (PIXELS, PIXELS):
    picture = picture.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
  white = Image.new("RGBA", picture.size, "white")
  buffer = io.BytesIO()
  Image.alpha_composite(white, picture).convert("RGB").save(buffer, "JPEG", quality=QUALITY)
  return buffer.getvalue()
