"""The page's files, in memory: what is not among them is nowhere, whatever an address says."""

import dataclasses
import gzip
import hashlib
import pathlib
import string

from composeret_jax.serving.page.accent import brand_css, DEFAULT, on

FOLDER = pathlib.Path(__file__).with_name("static")
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclasses.dataclass(frozen=True)
class Asset:
  """A file's content, plain and compressed, and its media type."""

  content: bytes
  compressed: bytes
  media_type: str


def read_assets(accent: str) -> dict[str, Asset]:
  """All files that the page loads, by name; style and icon in the accent (`#rrggbb`, "" for the default)."""
  paint = {"accent": accent or DEFAULT, "on_accent": on(accent or DEFAULT)}
  icon = string.Template((FOLDER / "favicon.svg").read_text()).substitute(paint)
  files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in (".css", ".js")}
  files |= {"favicon.svg": icon.encode(), "brand.css": brand_css(accent).encode()}
  return {
    name: Asset(content, gzip.compress(content, mtime=0), TYPES[pathlib.PurePath(name).suffix])
    for name, content in files.items()
  }


def version_of(assets: dict[str, Asset]) -> str:
  """Changes with any file's content: it is part of their addresses, which browsers may then keep for ever."""
  digest = hashlib.sha256()
  for name, asset in sorted(assets.items()):
    digest.update(name.encode() + hashlib.sha256(asset.content).digest())
  return digest.hexdigest()[:16]
