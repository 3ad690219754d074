"""How the service is run: what the flags of `composeret serve` set."""

import dataclasses
import os
import pathlib
import re

from data_pipelines.input_error import InputError

PREFIX = re.compile(r"(/[\w.~-]+)*", re.ASCII)
LOGO_KINDS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Checked when it is made; can be sent to another process.

  `url_prefix` is the path under which a proxy shows the service, "" for none. `page_logo` is the file of
  a picture. `api_keys` are the keys of which a client needs one; () lets everybody in. `rate_limit` is the number of
  requests a minute that a client has, 0 for any number. `feedback` is the JSON lines file to which chosen results go,
  `suggestions` a file of triplets whose texts are suggested for images like their references.
  """

  url_prefix: str = ""
  page_title: str = "Search by picture and words"
  page_logo: pathlib.Path | None = None
  page_accent: str = ""
  api_keys: tuple[str, ...] = ()
  rate_limit: int = 0
  feedback: pathlib.Path | None = None
  suggestions: pathlib.Path | None = None
  max_waiting: int = 1_000  # requests at once

  def __post_init__(self):
    """Raises InputError for a value that cannot be used."""
    if not PREFIX.fullmatch(self.url_prefix):
      raise InputError(f"--url_prefix={self.url_prefix} is no path as /shop: it begins with / and does not end with it")
    if self.page_accent and not COLOUR.fullmatch(self.page_accent):
      raise InputError(f"--page_accent={self.page_accent} is no colour as #0a7f5a")
    logo = self.page_logo
    if logo is not None and not (logo.is_file() and logo.suffix.lower() in LOGO_KINDS):
      raise InputError(f"--page_logo={logo} is no file that ends in {', '.join(LOGO_KINDS)}")
    if self.feedback is not None and (self.feedback.is_dir() or not self.feedback.parent.is_dir()):
      raise InputError(f"--feedback={self.feedback} is no file in a folder that is there")
    if self.rate_limit < 0:
      raise InputError(f"--rate_limit={self.rate_limit}, expected 0 (none) or a number of requests a minute")
    if any(len(key) < 16 for key in self.api_keys):
      raise InputError("an API key has fewer than 16 characters: make one by `openssl rand -hex 16`")
    if not all(key.isascii() and key.isprintable() and " " not in key for key in self.api_keys):
      raise InputError(
        "an API key has a space or a character that is not ASCII, which clients cannot send: make one by "
        "`openssl rand -hex 16`"
      )


def read_api_keys(file: str | os.PathLike) -> tuple[str, ...]:
  """One key a line; blank lines and those from # on are left out. Raises InputError when there is none."""
  try:
    lines = pathlib.Path(file).expanduser().read_text("utf-8-sig").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise InputError(f"--api_keys={file} cannot be read: {error}") from error
  keys = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
  if not keys:
    raise InputError(f"--api_keys={file} has no key")
  return keys
