"""Odd and bad images, made here: each with the pixels that it stands for, or with what is said of it.

All are of SIDE x SIDE pixels where they have a size, so that pixels come out as they went in.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
OTHER = 255 - PIXELS
GREY = PIXELS[..., 0]
ALPHA = PIXELS[..., 1]
FLAT = (200, 80, 30)
FLAT_PIXELS = np.full((SIDE, SIDE, 3), FLAT, np.uint8)


def saved(pixels, format, mode=None, **options) -> bytes:
  """Pixels as Pillow writes them."""
  image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
  buffer = io.BytesIO()
  (image.convert(mode) if mode else image).save(buffer, format, **options)
  return buffer.getvalue()


def png(rows: np.ndarray, depth: int, colour_type: int, size=(SIDE, SIDE), extra: bytes = b"") -> bytes:
  """A PNG by its specification, of any depth; `rows` are each row's bytes."""
  data = b"".join(b"\0" + row.tobytes() for row in rows)
  header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))
  return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
  return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def two_bytes(values: np.ndarray) -> np.ndarray:
  """16-bit samples, big-endian, whose high byte is the value and whose low byte is another."""
  deep = values.astype(np.uint16) * 256 + (255 - values)
  return deep.astype(">u2").reshape(SIDE, -1)


def as_rgb(grey: np.ndarray) -> np.ndarray:
  return np.repeat(grey[..., None], 3, axis=2)


def palette_image() -> Image.Image:
  """64 pixels, each of a colour of its own."""
  image = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE), "P")
  image.putpalette(PIXELS.reshape(-1).tolist())
  return image


def rotated(orientation: int) -> Image.Exif:
  exif = Image.Exif()
  exif[0x0112] = orientation
  return exif


def frames(format: str, **options) -> bytes:
  return saved(PIXELS, format, save_all=True, append_images=[Image.fromarray(OTHER)], **options)


LOSSLESS = {
  "rgb.png": saved(PIXELS, "PNG"),
  "rgb.bmp": saved(PIXELS, "BMP"),
  "rgb.tif": saved(PIXELS, "TIFF"),
  "rgb.lzw.tif": saved(PIXELS, "TIFF", compression="tiff_lzw"),
  "rgb.ppm": saved(PIXELS, "PPM"),
  "rgb.webp": saved(PIXELS, "WEBP", lossless=True),
  "rgb.jp2": saved(PIXELS, "JPEG2000"),
}

EXACT = {
  **{name: (content, PIXELS) for name, content in LOSSLESS.items()},
  "palette.png": (saved(palette_image(), "PNG"), PIXELS),
  "palette.gif": (saved(palette_image(), "GIF"), PIXELS),
  "palette.bmp": (saved(palette_image(), "BMP"), PIXELS),
  "palette with transparency.png": (saved(palette_image(), "PNG", transparency=3), PIXELS),
  "interlaced.gif": (saved(palette_image(), "GIF", interlace=1), PIXELS),
  "grey.png": (saved(GREY, "PNG"), as_rgb(GREY)),
  "grey.tif": (saved(GREY, "TIFF"), as_rgb(GREY)),
  "grey.pgm": (saved(GREY, "PPM"), as_rgb(GREY)),
  "grey of 1 bit.png": (png(GREY[:, :1], 1, 0), as_rgb(np.unpackbits(GREY[:, :1], axis=1) * 255)),
  "grey of 4 bits.png": (
    png(GREY[:, :4], 4, 0),
    as_rgb(np.stack([GREY[:, :4] >> 4, GREY[:, :4] & 15], 2).reshape(8, 8) * 17),
  ),
  "grey and alpha.png": (saved(np.dstack([GREY, ALPHA]), "PNG"), as_rgb(GREY)),
  "alpha.png": (saved(np.dstack([PIXELS, ALPHA]), "PNG"), PIXELS),
  "transparent all over.png": (saved(np.dstack([PIXELS, 0 * ALPHA]), "PNG"), PIXELS),
  "alpha.webp": (saved(np.dstack([PIXELS, ALPHA]), "WEBP", lossless=True, exact=True), PIXELS),
  "alpha.tif": (saved(np.dstack([PIXELS, ALPHA]), "TIFF"), PIXELS),
  "16 bits, rgb.png": (png(two_bytes(PIXELS), 16, 2), PIXELS),
  "16 bits, rgb and alpha.png": (png(two_bytes(np.dstack([PIXELS, ALPHA])), 16, 6), PIXELS),
  "16 bits, grey and alpha.png": (png(two_bytes(np.dstack([GREY, ALPHA])), 16, 4), as_rgb(GREY)),
  "animated.png": (frames("PNG"), PIXELS),
  "animated.webp": (frames("WEBP", lossless=True), PIXELS),
  "pages.tif": (frames("TIFF"), PIXELS),
  "animated.gif": (saved(palette_image(), "GIF", save_all=True, append_images=[Image.new("P", (SIDE, SIDE))]), PIXELS),
  **{f"exif {i}.png": (saved(PIXELS, "PNG", exif=rotated(i)), PIXELS) for i in range(1, 9)},
  "more after the end.png": (saved(PIXELS, "PNG") + b"more" * 100, PIXELS),
  "a gamma.png": (png(PIXELS.reshape(SIDE, -1), 8, 2, extra=chunk(b"gAMA", struct.pack(">I", 100_000))), PIXELS),
  "one pixel.png": (saved(np.full((1, 1, 3), FLAT, np.uint8), "PNG"), FLAT_PIXELS),
  "exactly 200 to 1.png": (saved(np.full((1, 200, 3), FLAT, np.uint8), "PNG"), FLAT_PIXELS),
  "cmyk.tif": (saved(FLAT_PIXELS, "TIFF", "CMYK"), FLAT_PIXELS),
}

# Within a few grey levels.
LOSSY = {
  "rgb.jpg": saved(FLAT_PIXELS, "JPEG"),
  "progressive.jpg": saved(FLAT_PIXELS, "JPEG", progressive=True),
  "cmyk.jpg": saved(FLAT_PIXELS, "JPEG", "CMYK"),
  "exif 6.jpg": saved(FLAT_PIXELS, "JPEG", exif=rotated(6)),
  "broken exif.jpg": saved(FLAT_PIXELS, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
  "broken profile.jpg": saved(FLAT_PIXELS, "JPEG", icc_profile=b"no profile"),
  "more after the end.jpg": saved(FLAT_PIXELS, "JPEG") + b"more" * 100,
  "several pictures.mpo": saved(FLAT_PIXELS, "MPO", save_all=True, append_images=[Image.fromarray(OTHER)]),
  "lossy.webp": saved(FLAT_PIXELS, "WEBP"),
}

_WHOLE = {
  "png": saved(PIXELS, "PNG"),
  "jpg": saved(PIXELS, "JPEG"),
  "progressive.jpg": saved(PIXELS, "JPEG", progressive=True),
  "gif": saved(palette_image(), "GIF"),
  "bmp": saved(PIXELS, "BMP"),
  "tif": saved(PIXELS, "TIFF"),
  "webp": saved(PIXELS, "WEBP", lossless=True),
  "jp2": saved(PIXELS, "JPEG2000"),
  "ppm": saved(PIXELS, "PPM"),
}
_NO_ROWS = np.zeros((0, 1), np.uint8)

# What the message says.
REFUSED = {
  "empty.jpg": (b"", "empty, damaged, or none of"),
  "one byte.jpg": (b"\xff", "empty, damaged"),
  "zeros.jpg": (bytes(1000), "empty, damaged"),
  "text.jpg": (b"not an image\n" * 9, "empty, damaged"),
  "page.jpg": (b"<!DOCTYPE html><html>404</html>", "empty, damaged"),
  "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "empty, damaged"),
  "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n", "none of"),
  "archive.zip": (b"PK\3\4" + bytes(60), "none of"),
  "document.pdf": (b"%PDF-1.7\n" + bytes(60), "none of"),
  "icon.ico": (saved(FLAT_PIXELS, "ICO"), "none of"),
  "targa.tga": (saved(FLAT_PIXELS, "TGA"), "none of"),
  "paint.pcx": (saved(FLAT_PIXELS, "PCX"), "none of"),
  "silicon graphics.sgi": (saved(FLAT_PIXELS, "SGI"), "none of"),
  "surface.dds": (saved(FLAT_PIXELS, "DDS"), "none of"),
  "bits.xbm": (saved(FLAT_PIXELS, "XBM", "1"), "none of"),
  "sound.wav": (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(20), "none of"),
  "film.mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(60), "none of"),
  "start of a jpeg.jpg": (b"\xff\xd8\xff\xe0" + bytes(100), "not a readable image"),
  **{f"cut in half.{suffix}": (whole[: len(whole) // 2], "not a readable") for suffix, whole in _WHOLE.items()},
  **{f"a quarter.{suffix}": (whole[: len(whole) // 4], "not a readable") for suffix, whole in _WHOLE.items()},
  **{f"the first 20 bytes.{suffix}": (whole[:20], "not a readable") for suffix, whole in _WHOLE.items()},
  "no pixels.png": (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
    "not a readable",
  ),
  "no frame.gif": (b"GIF89a\x08\0\x08\0\0\0\0;", "not a readable"),
  "wrong checksum.png": (_WHOLE["png"][:29] + b"\0\0\0\0" + _WHOLE["png"][33:], "not a readable"),
  "bomb.png": (png(_NO_ROWS, 8, 2, size=(60_000, 60_000)), "3600000000 pixels"),
  "bomb of bits.png": (png(_NO_ROWS, 1, 0, size=(20_000, 20_000)), "400000000 pixels"),
  "bomb.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;", "4294836225 pixels"),
  "bomb.bmp": (_WHOLE["bmp"][:18] + struct.pack("<ii", 50_000, 50_000) + _WHOLE["bmp"][26:], "2500000000 pixels"),
  "bomb.ppm": (b"P6\n50000 50000\n255\n", "2500000000 pixels"),
  "no width.png": (png(_NO_ROWS, 8, 2, size=(0, 8)), "not a readable"),
  "a long line.png": (saved(np.zeros((1, 201, 3), np.uint8), "PNG"), "201 x 1 pixels, expected at most 200 times"),
  "a tall line.jpg": (saved(np.zeros((2000, 9, 3), np.uint8), "JPEG"), "9 x 2,000 pixels"),
  "16 bits, grey.png": (png(two_bytes(GREY), 16, 0), "more than 8 bits a channel"),
  "16 bits, grey.tif": (saved(GREY.astype(np.uint16), "TIFF"), "more than 8 bits a channel"),
  "16 bits, grey.pgm": (b"P5\n8 8\n65535\n" + bytes(128), "more than 8 bits a channel"),
  "32 bits.tif": (saved(GREY.astype(np.int32), "TIFF"), "more than 8 bits a channel"),
  "floats.tif": (saved(GREY.astype(np.float32), "TIFF"), "more than 8 bits a channel"),
}
