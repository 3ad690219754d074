"""The corpora's layouts, from archives that are made here: nothing is downloaded."""

import csv
import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
from PIL import Image
import pytest

from benchmarks.corpora import emoji, fluent, phosphor, pictures, shop
from benchmarks.corpora.emoji import NO_TONE, TEST_EMOJI, TONES
from benchmarks.corpora.packages import Package, read_files
from data_pipelines.datasets.fashion200k import Fashion200k
from data_pipelines.datasets.mit_states import MitStates


def png(colour, side=64):
  buffer = io.BytesIO()
  Image.new("RGBA", (side, side), colour).save(buffer, "PNG")
  return buffer.getvalue()


def write_package(folder, package, files):
  """An archive of `files`, and the package with its checksum."""
  with tarfile.open(folder / package.archive, "w:gz") as tar:
    for name, content in files.items():
      member = tarfile.TarInfo(f"package/{name}")
      member.size = len(content)
      tar.addfile(member, io.BytesIO(content))
  return dataclasses.replace(package, sha256=hashlib.sha256((folder / package.archive).read_bytes()).hexdigest())


@pytest.fixture(autouse=True)
def no_cairo(monkeypatch):
  """Drawings are not drawn: cairosvg is of the extra bench."""
  for module in (fluent, phosphor):
    monkeypatch.setattr(module, "drawn", lambda svg: pictures.on_white(png("black")))


def test_an_archive_with_another_content_is_refused(tmp_path):
  package = write_package(tmp_path, Package("@owner/icons", "1.0.0", ""), {"a.svg": b"<svg/>"})
  assert package.fetch("https://nowhere.invalid", tmp_path).name == "icons-1.0.0.tgz"
  with pytest.raises(ValueError, match="expected 00"):
    dataclasses.replace(package, sha256="00").fetch("https://nowhere.invalid", tmp_path)


def test_files_of_a_folder_are_read_by_name(tmp_path):
  package = write_package(tmp_path, Package("icons", "1", ""), {"img/b.svg": b"2", "img/a.svg": b"1", "img/c.md": b"3"})
  assert list(read_files(tmp_path / package.archive, "img/", ".svg").items()) == [("a.svg", b"1"), ("b.svg", b"2")]


def test_pictures_are_on_white_and_of_96_pixels():
  picture = Image.open(io.BytesIO(pictures.on_white(png((0, 0, 0, 0)))))
  assert picture.size == (96, 96) and picture.format == "JPEG"
  assert np.asarray(picture).min() >= 254


def test_emoji_of_five_tones_are_written_with_and_without_a_tone(tmp_path, monkeypatch):
  variations = {code: {"image": f"1-{code.lower()}.png"} for code in TONES}
  described = [
    {"short_name": TEST_EMOJI[0], "image": "1.png", "skin_variations": variations},
    {"short_name": "up_there", "image": "1.png", "skin_variations": variations},
    {"short_name": "two_people", "image": "1.png", "skin_variations": {"1F3FB-1F3FC": {"image": "1.png"}}},
    {"short_name": "sun", "image": "1.png"},
  ]
  files = {"emoji.json": json.dumps(described).encode()}
  monkeypatch.setattr(emoji, "DATA", write_package(tmp_path, emoji.DATA, files))
  artists = {}
  for artist, (name, package) in emoji.ARTISTS.items():
    names = ["1.png", *(variation["image"] for variation in variations.values())]
    artists[artist] = name, write_package(tmp_path, package, {f"img/{name}/64/{file}": png("red") for file in names})
  monkeypatch.setattr(emoji, "ARTISTS", artists)
  emoji.write_emoji("https://nowhere.invalid", tmp_path, tmp_path / "out")
  labels = {path.name for path in (tmp_path / "out" / "images").iterdir()}
  assert labels == {f"{tone} {noun}" for tone in (NO_TONE, *TONES.values()) for noun in ("bracelet", "up-there")}
  builder = MitStates(config="queries", data_dir=str(tmp_path / "p"), raw_folder=tmp_path / "out")
  assert len(builder.read_queries("test")) == 2 * 6 * 5


def test_fluents_captions_have_no_size_and_at_most_five_words():
  names = ["arrow_left_20_filled.svg", "arrow_left_48_filled.svg", "LTR/arrow_20_filled.svg", "a_b_c_d_e_20_light.svg"]
  assert fluent.captioned(dict.fromkeys(names, b"")) == [("arrow left filled", b"")]


def test_phosphors_queries_ask_for_another_weight_of_the_same_icon(tmp_path, monkeypatch):
  weights = ("bold", "regular", "thin")
  files = {
    f"assets/{weight}/icon-{i}{'' if weight == 'regular' else f'-{weight}'}.svg": b"<svg/>"
    for i in range(12)
    for weight in weights
  }
  monkeypatch.setattr(phosphor, "PACKAGE", write_package(tmp_path, phosphor.PACKAGE, files))
  phosphor.write_phosphor("https://nowhere.invalid", tmp_path, tmp_path / "out")
  builder = Fashion200k(config="queries", data_dir=str(tmp_path / "p"), raw_folder=tmp_path / "out")
  images, queries = builder.read_images("test"), builder.read_queries("test")
  assert len(images) == len(queries) == 2 * len(weights)
  assert len(builder.read_images("train")) == 10 * len(weights)
  for query in queries:
    reference = images[query.reference].label
    assert reference != query.target_label
    assert reference.rpartition(" ")[0] == query.target_label.rpartition(" ")[0]


def test_a_shop_dyes_products_and_says_what_differs(tmp_path, monkeypatch):
  """A blue square with a red handle: the square is dyed, the handle stays red."""
  picture = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
  picture.paste((90, 110, 220, 255), (20, 80, 236, 256))
  picture.paste((220, 30, 30, 255), (100, 40, 156, 80))
  stream = io.BytesIO()
  picture.save(stream, "WEBP", lossless=True)
  names = [code for codes in shop.PRODUCTS.values() for code in codes.values()]
  files = {f"assets/{code}.webp": stream.getvalue() for code in names}
  monkeypatch.setattr(shop, "PACKAGE", write_package(tmp_path, shop.PACKAGE, files))
  monkeypatch.setattr(shop, "PRODUCTS", {"bags": {"handbag": names[0], "pouch": names[1]}})
  monkeypatch.setattr(shop, "NUM_TRIPLETS", 300)
  shop.write_shop("https://nowhere.invalid", tmp_path, tmp_path / "shop")

  plain, striped = (
    np.asarray(Image.open(tmp_path / f"shop/images/bags/green-{pattern}-pouch.jpg"), int)
    for pattern in ("plain", "striped")
  )
  assert np.abs(plain[150, 100] - shop.COLOURS["green"]).max() < 12
  assert np.abs(plain[35, 128] - (220, 30, 30)).max() < 12 and plain[5, 5].min() > 250
  light = (striped[100:200, 60:200].min(axis=-1) > 180).mean()
  assert 0.3 < light < 0.5

  with (tmp_path / "shop/products.csv").open() as file:
    products = {row["image"]: row for row in csv.DictReader(file)}
  assert len(products) == 60 and all((tmp_path / "shop/images" / image).is_file() for image in products)
  with (tmp_path / "shop/triplets.csv").open() as file:
    rows = list(csv.DictReader(file))
  sides = {
    split: {row[end] for row in rows if row["split"] == split for end in ("reference", "target")}
    for split in ("train", "test")
  }
  assert len(rows) == 300 and not sides["train"] & sides["test"]
  for row in rows:
    if row["text"].startswith(("in ", "make it ")):
      reference, target = products[row["reference"]], products[row["target"]]
      assert row["text"].split()[-1] == target["colour"] != reference["colour"]
      assert (reference["pattern"], reference["caption"].split()[-1]) == (
        target["pattern"],
        target["caption"].split()[-1],
      )
