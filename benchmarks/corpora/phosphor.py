"""phosphor_200k: Phosphor's icons (MIT), each in six weights, with captions "name weight"."""

import pathlib

import numpy as np

from benchmarks.corpora.fashion200k_layout import icon, one_query_each, one_style_apart, Picture, write_corpus
from benchmarks.corpora.packages import Package, read_files
from benchmarks.corpora.pictures import drawn

PACKAGE = Package("@phosphor-icons/core", "2.1.1", "313332be6190b724da24107addd781799b48bf76b13963f24501112ffe1baadd")
SEED = 0
TEST_SHARE = 1 / 6  # of the icons, all weights of an icon together
FIRST_NUMBER = 10_000


def write_phosphor(registry: str, downloads: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the corpus to `folder`; every test picture is the reference of one query, for another weight."""
  files = read_files(PACKAGE.fetch(registry, downloads), "assets/", ".svg")
  # The icon of "assets/bold/acorn-bold.svg" is "acorn"; the regular weight's files do not end in it.
  named = sorted((_caption(name), svg) for name, svg in files.items())
  pictures = [Picture(FIRST_NUMBER + i, caption, drawn(svg)) for i, (caption, svg) in enumerate(named)]
  rng = np.random.default_rng(SEED)
  icons = sorted({icon(picture.caption) for picture in pictures})
  test_icons = set(rng.choice(icons, round(TEST_SHARE * len(icons)), replace=False).tolist())
  test = {picture.number: picture.caption for picture in pictures if icon(picture.caption) in test_icons}
  write_corpus(folder, pictures, test_icons, one_query_each(test, one_style_apart(test.values()), rng))


def _caption(file: str) -> str:
  weight, _, name = file.removesuffix(".svg").partition("/")
  return f"{name.removesuffix(f'-{weight}').replace('-', ' ')} {weight}"
