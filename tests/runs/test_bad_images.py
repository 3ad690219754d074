"""A run on data with images that cannot be decoded: it names one and stops, or leaves them out and says so."""

import json

import pytest

from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import layout
from composeret_jax.training.train import train
from data_pipelines.dataset import open_dataset
from data_pipelines.dataset import prepare as prepare_data
from data_pipelines.input_error import InputError
from tests.data_pipelines.datasets.test_fashion_iq import data_config as fashion_iq_config
from tests.fakes import odd_images, tiny, tiny_datasets

# Of the 12 test images (two of each of six labels) and 24 queries: one image of a pair, and both of another.
BAD_TEST = ("dark horse/0.jpg", "light sky/0.jpg", "light sky/1.jpg")
BAD_TRAIN = ("dark box/1.jpg",)

# The two queries of the first; the four of the others, and the four that ask for them.
LEFT_OUT = {"num_bad_images": 3, "num_bad_queries": 10, "num_bad_train_images": 1, "num_bad_train_queries": 1}


@pytest.fixture
def raw(tmp_path):
  folder = tiny.make_mit_states(tmp_path / "raw")
  for name, (content, _) in zip((*BAD_TEST, *BAD_TRAIN), odd_images.REFUSED.values(), strict=False):
    (folder / "images" / name).write_bytes(content)
  return folder


@pytest.fixture
def skipping(raw, tmp_path):
  config = tiny.config(raw, tmp_path / "prepared")
  config.data.on_bad_image = "skip"
  return config


def test_a_bad_image_stops_a_run_by_default(raw, tmp_path):
  config = tiny.config(raw, tmp_path / "prepared")
  with pytest.raises(InputError, match=r"images/dark horse/0\.jpg: not a readable image .*on_bad_image=skip"):
    prepare_data(config.data)


@pytest.mark.parametrize("pixels", ["store", "decode"])
def test_what_is_left_out_is_counted(skipping, capsys, pixels):
  skipping.data.pixels = pixels
  for _ in ("finds out", "reads what was found"):
    dataset = open_dataset(skipping.data, "modification")
    assert dataset.num_left_out == LEFT_OUT
    assert len(dataset.gallery) == len(dataset.gallery_pixels) == 9
    assert len(dataset.train_images) == len(dataset.train_pixels) == 17
    assert len(dataset.queries) == 14
  printed = capsys.readouterr().err
  assert printed.count("3 of 12 test images cannot be decoded and are left out") == 2
  assert printed.count("look for bad images: 100%") == 2  # train and test, once


def test_what_is_left_keeps_its_pixels_and_queries(skipping, prepared, raw_mit_states):
  """Beside the whole data set, whose images are the same but for those."""
  few = open_dataset(skipping.data, "modification")
  whole = open_dataset(tiny.config(raw_mit_states, prepared).data, "modification")
  rows = {name: row for row, name in enumerate(whole.gallery.names)}
  for row, name in enumerate(few.gallery.names):
    assert (few.gallery_pixels[row] == whole.gallery_pixels[rows[name]]).all()
    assert few.gallery.encoded[row] == whole.gallery.encoded[rows[name]]
  bad = {f"images/{name}" for name in BAD_TEST}
  expected = [query for query in described(whole) if query[0] not in bad and query[2] != "light sky"]
  assert described(few) == expected


def described(dataset):
  queries = dataset.queries
  names = [dataset.gallery.names[row] for row in queries.references]
  return list(zip(names, queries.texts, queries.target_labels, strict=True))


@pytest.mark.slow  # a training
def test_every_result_says_what_was_left_out(skipping, tmp_path, capsys):
  train(skipping, tmp_path / "run")
  said = "num_bad_images 3, num_bad_queries 10, num_bad_train_images 1, num_bad_train_queries 1"
  assert said in capsys.readouterr().out
  lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  expected = {f"eval/{name}": number for name, number in LEFT_OUT.items()}
  assert expected.items() <= next(line for line in lines if "eval/R@1" in line).items()
  export(skipping, tmp_path / "run", tmp_path / "bundle")
  assert said in capsys.readouterr().out
  info = json.loads((tmp_path / "bundle" / layout.INFO).read_text())
  assert LEFT_OUT.items() <= info["metrics"].items()


def test_without_bad_images_skipping_changes_nothing(config, prepared):
  plain = open_dataset(config.data, "modification")
  config.data.on_bad_image = "skip"
  same = open_dataset(config.data, "modification")
  assert described(same) == described(plain)
  assert same.num_left_out == dict.fromkeys(LEFT_OUT, 0)


def test_a_split_of_bad_images_alone_is_refused(skipping, raw):
  for file in raw.glob("images/* horse/*.jpg"):
    file.write_bytes(b"")
  for file in raw.glob("images/* sky/*.jpg"):
    file.write_bytes(b"")
  with pytest.raises(InputError, match="without bad images no test query is left"):
    open_dataset(skipping.data, "modification")


def test_listed_queries_are_left_out_with_either_image(tmp_path):
  raw = tiny_datasets.make_fashion_iq(tmp_path / "raw")
  for name in ("dress1", "both", "train_top0"):
    (raw / "images" / f"{name}.png").write_bytes(b"no image")
  dataset = open_dataset(fashion_iq_config(raw, tmp_path, on_bad_image="skip", image_size=8), "modification")
  assert dataset.queries.target_labels == ["dress3", "shirt1", "top1"]
  assert [dataset.gallery.labels[row] for row in dataset.queries.references] == ["dress2", "shirt0", "top0"]
  counts = {name: number for name, number in dataset.num_left_out.items() if "bad" in name}
  # "both" is in two galleries; dress0-1, dress1-2, dress3-both, shirt1-both; in training, top0-1.
  assert counts == {"num_bad_images": 3, "num_bad_queries": 4, "num_bad_train_images": 1, "num_bad_train_queries": 1}


def test_images_of_another_suffix_are_read_by_their_content(tmp_path):
  raw = tiny.make_mit_states(tmp_path / "raw")
  files = sorted(raw.glob("images/* sky/*.jpg"))
  for file, content in zip(files, odd_images.LOSSLESS.values(), strict=False):
    file.write_bytes(content)
  config = tiny.config(raw, tmp_path / "prepared")
  config.data.image_size = odd_images.SIDE
  dataset = open_dataset(config.data, "modification")
  rows = [row for row, name in enumerate(dataset.gallery.names) if " sky/" in name]
  for row, _ in zip(rows, odd_images.LOSSLESS, strict=False):
    assert (dataset.gallery_pixels[row] == odd_images.PIXELS).all()


def test_an_unreadable_file_is_named(tmp_path):
  raw = tiny.make_mit_states(tmp_path / "raw")
  (raw / "images" / "dark box" / "1.jpg").unlink()
  (raw / "images" / "dark box" / "1.jpg").symlink_to(tmp_path / "nothing")
  with pytest.raises(InputError, match=r"images/dark box/1\.jpg"):
    open_dataset(tiny.config(raw, tmp_path / "prepared").data, "modification")
