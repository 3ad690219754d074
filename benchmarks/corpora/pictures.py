"""Pictures of packages as the corpora hold them: 96 pixels square, on white, as JPEG."""

import io

from PIL import Image

PIXELS = 96
QUALITY = 88


def drawn(svg: bytes) -> bytes:
  """A drawing; `currentColor` is black."""
  import cairosvg  # of the extra bench

  return on_white(cairosvg.svg2png(bytestring=svg, output_width=PIXELS, output_height=PIXELS))


def on_white(encoded: bytes) -> bytes:
  """A picture with transparent parts, scaled where it has another size."""
  picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
  if picture.size != (PIXELS, PIXELS):
    picture = picture.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
  buffer = io.BytesIO()
  white = Image.new("RGBA", picture.size, "white")
  Image.alpha_composite(white, picture).convert("RGB").save(buffer, "JPEG", quality=QUALITY)
  return buffer.getvalue()
