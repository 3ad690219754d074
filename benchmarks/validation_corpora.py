"""Corpora to choose settings on: of three corpora the training side alone, a part of it held out.

python -m benchmarks.validation_corpora --data_dir=data --output_dir=data/validation

Each is laid out as the corpus it comes from, and its test side is made as that corpus's own was: 48 emoji, under the
names of MIT-States' test nouns; a sixth of the icons of `icons_200k`, all styles of an icon together, each image with
a query to an image whose caption differs in one word; the same of `phosphor_200k`, with queries for another style of
the same icon, which the changed word alone decides. No image of the corpora's own test sides is in them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import functools
import pathlib
import shutil
import sys

from absl import app, flags
import numpy as np

from benchmarks.corpora.fashion200k_layout import icon, one_query_each, one_style_apart, one_word_apart
from data_pipelines.datasets.mit_states import labelled_images, TEST_NOUNS
from data_pipelines.texts.labels import split_label

SEED = 1
NUM_NOUNS = 48
SHARE_OF_ICONS = 1 / 6

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that holds the corpora.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder to write them to; must not have them yet.")


def write_emoji(corpus: pathlib.Path, output: pathlib.Path) -> None:
  """Held-out nouns are renamed, in the order drawn, to MIT-States' test nouns."""
  images, _ = labelled_images(corpus)
  labels = [label for label in images if split_label(label)[1] not in TEST_NOUNS]
  nouns = sorted({split_label(label)[1] for label in labels})
  drawn = np.random.default_rng(SEED).choice(nouns, NUM_NOUNS, replace=False)
  names = dict(zip(drawn, sorted(TEST_NOUNS)[:NUM_NOUNS], strict=True))
  for label in labels:
    adjective, noun = split_label(label)
    shutil.copytree(corpus / "images" / label, output / "images" / f"{adjective} {names.get(noun, noun)}")


Siblings = Callable[[Collection[str]], Mapping[str, Sequence[str]]]


def write_icons(corpus: pathlib.Path, output: pathlib.Path, siblings: Siblings = one_word_apart) -> None:
  """Queries lead from each held-out image to one of its caption's `siblings` among the held-out captions."""
  lines = [line.split("\t") for path in sorted(corpus.glob("labels/*_train_*.txt")) for line in _lines(path)]
  icons = sorted({icon(caption) for _, _, caption in lines})
  rng = np.random.default_rng(SEED)
  held_out = set(rng.choice(icons, round(SHARE_OF_ICONS * len(icons)), replace=False))
  (output / "labels").mkdir(parents=True)
  for split in ("train", "test"):
    own = [fields for fields in lines if (icon(fields[2]) in held_out) == (split == "test")]
    _write(output / "labels" / f"icons_{split}_detect_all.txt", ("\t".join(fields) for fields in own))
    if split == "test":
      captions = {name: caption for name, _, caption in own}
      queries = one_query_each(captions, siblings(captions.values()), rng)
      _write(output / "test_queries.txt", (f"{reference} {target}" for reference, target in queries))
  for name, _, _ in lines:
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(corpus / name, output / name)


def _lines(path: pathlib.Path) -> list[str]:
  return path.read_text(encoding="utf-8").splitlines()


def _write(path: pathlib.Path, lines: Iterable[str]) -> None:
  path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


WRITERS: Mapping[str, Callable[[pathlib.Path, pathlib.Path], None]] = {
  "emoji_states": write_emoji,
  "icons_200k": write_icons,
  "phosphor_200k": functools.partial(write_icons, siblings=one_style_apart),
}


def main(_) -> None:
  """Writes them; ends with a message where one is there already."""
  for name, write in WRITERS.items():
    output = pathlib.Path(_OUTPUT_DIR.value) / name
    if output.exists():
      sys.exit(f"error: {output} is there already")
    write(pathlib.Path(_DATA_DIR.value) / name, output)
    print(f"wrote {output}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["data_dir", "output_dir"])
  app.run(main)
