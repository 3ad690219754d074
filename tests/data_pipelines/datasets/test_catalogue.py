import csv
import json
import pathlib

import numpy as np
import pytest

from configs import catalogue
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.catalogue.content import named_images, split_captions, split_triplets
from data_pipelines.datasets.catalogue.rows import Example
from data_pipelines.input_error import InputError
from data_pipelines.loader import ABSENT, LoadRows, TripletStream
from data_pipelines.prepared.prepared_data import PreparedData
from data_pipelines.texts.labels import label_numbers
from data_pipelines.texts.readers import TokenReader
from data_pipelines.texts.vocabulary import Vocabulary
from tests.fakes import tiny_datasets
from tests.fakes.tiny_datasets import catalogue_name as name


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_datasets.make_catalogue(tmp_path_factory.mktemp("catalogue") / "images")


@pytest.fixture
def open_catalogue(raw, tmp_path):
  def opened(text_query="modification", **fields):
    config = catalogue.get_config().data
    config.update(**{"dir": str(raw), "prepared_dir": str(tmp_path / "prepared")} | fields)
    return open_dataset(config, text_query)

  return opened


def write_csv(path: pathlib.Path, rows: list[dict[str, str]]) -> str:
  with path.open("w", newline="") as file:
    out = csv.DictWriter(file, list(rows[0]))
    out.writeheader()
    out.writerows(rows)
  return str(path)


def captions(splits=("train",) * 3 + ("test",) * 3):
  return [
    {"image": name(i), "caption": caption, "split": split, "category": ""}
    for i, (caption, split) in enumerate(zip(tiny_datasets.CATALOGUE_CAPTIONS, splits, strict=True))
  ]


def without(rows, *columns):
  return [{key: value for key, value in row.items() if key not in columns} for row in rows]


def test_triplets_are_trained_on_and_tested_as_the_column_split_says(open_catalogue, tmp_path):
  dataset = open_catalogue(triplets=write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets()))
  assert dataset.train_images.names == sorted([name(0), name(1), name(2)])
  assert dataset.train_triplets.texts() == ["make it red", "make it long"]
  assert dataset.gallery.names == sorted(name(i) for i in range(3, 10))  # image 9, which no row names, among them
  assert dataset.gallery.labels == dataset.gallery.names
  assert [dataset.gallery.names[row] for row in dataset.queries.references] == [name(3), name(5)]
  assert dataset.queries.target_labels == [name(4), name(6)]
  assert dataset.queries.groups == ["hat", "hat"]
  complete = open_catalogue("complete", triplets=str(tmp_path / "rows.csv"))
  assert complete.queries.texts == ["hat make it blue", "hat make it new"]


def test_a_changed_file_is_prepared_anew(open_catalogue, tmp_path):
  rows = tiny_datasets.catalogue_triplets()
  path = write_csv(tmp_path / "rows.csv", rows)
  assert open_catalogue(triplets=path).queries.texts == ["make it blue", "make it new"]
  write_csv(tmp_path / "rows.csv", rows[:2] + [rows[2] | {"text": "make it pink"}, rows[3]])
  assert open_catalogue(triplets=path).queries.texts == ["make it pink", "make it new"]


def test_images_of_test_rows_that_train_too_are_said(open_catalogue, tmp_path, capsys):
  rows = tiny_datasets.catalogue_triplets(("train", "test", "test", "test"))
  open_catalogue(triplets=write_csv(tmp_path / "rows.csv", rows))
  assert "1 images of rows to test on are trained on too" in capsys.readouterr().err


def test_rows_for_test_alone_leave_nothing_to_train_on(open_catalogue, tmp_path):
  dataset = open_catalogue(triplets=write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets(("test",) * 4)))
  dataset.open_all_pixels()
  assert (len(dataset.train_images), len(dataset.gallery), len(dataset.queries)) == (0, 10, 4)
  with pytest.raises(InputError, match="no training triplets; config.num_train_steps=0"):
    TripletStream(dataset.train_triplets, seed=0)


def test_a_folder_alone_is_a_gallery_without_queries(open_catalogue):
  dataset = open_catalogue()
  assert dataset.gallery.names == sorted(name(i) for i in range(10))
  assert len(dataset.queries) == dataset.train_triplets.num_items == 0


def examples(num=400):
  """Each image is the reference of one row and the target of the next."""
  return [Example((f"{i}.png", f"{i + 1}.png"), f"text {i}", "", "") for i in range(num)]


def test_no_image_of_a_test_query_is_trained_on():
  split = split_triplets(examples(), test_share=0.1)
  assert 20 <= len(split["test"]) <= 60
  assert len(split["train"]) > 250
  assert not named_images(split["train"]) & named_images(split["test"])
  assert split == split_triplets(examples(), test_share=0.1)
  assert len(split_triplets(examples(), test_share=1.0)["test"]) == 400


def test_without_a_test_share_all_triplets_are_trained_on(open_catalogue, tmp_path):
  rows = without(tiny_datasets.catalogue_triplets(), "split")
  file = write_csv(tmp_path / "rows.csv", rows)
  data = open_catalogue(triplets=file, test_share=0.0)
  assert len(data.train_triplets.texts()) == len(rows) and len(data.queries) == 0
  assert len(data.gallery) == 10  # the folder
  with pytest.raises(InputError, match="no query to test on"):
    open_catalogue(captions=write_csv(tmp_path / "captions.csv", without(captions(), "split")), test_share=0.0)


def test_a_row_stays_where_it_is_when_others_come():
  few, more = (split_triplets(examples(num), test_share=0.3)["test"] for num in (100, 200))
  assert more[: len(few)] == few


def test_all_images_of_a_caption_are_on_one_side():
  rows = [Example((f"{i}.png",), f"caption {i % 40}", "", "") for i in range(400)]
  split = split_captions(rows, test_share=0.3)
  sides = [{example.text for example in split[side]} for side in ("train", "test")]
  assert sides[0] | sides[1] == {example.text for example in rows}
  assert not sides[0] & sides[1]
  assert 4 <= len(sides[1]) <= 20


def test_captions_make_triplets(open_catalogue, tmp_path, capsys):
  rows = without(captions(("train",) * 2 + ("test",) * 2 + ("train",) * 2), "category")
  dataset = open_catalogue(captions=write_csv(tmp_path / "captions.csv", rows))
  assert dataset.train_images.labels == ["red dress", "blue coat", "blue dress", "plain hat"]  # by name of the image
  (triplet,) = dataset.train_triplets.sample(0, lambda: np.random.default_rng(0))
  assert (triplet.reference, triplet.target) in {(0, 2), (1, 2), (2, 0), (2, 1)}
  assert dataset.train_triplets.num_items == 3  # nothing differs from "plain hat" in a word
  assert dataset.gallery.labels == ["red dress", "red coat"]
  assert list(zip(dataset.queries.references, dataset.queries.texts, dataset.queries.target_labels, strict=True)) == [
    (0, "replace dress with coat", "red coat"),
    (1, "replace coat with dress", "red dress"),
  ]
  printed = capsys.readouterr().err
  assert "4 images to train on, 2 to test on, of which 2 are queries; 4 images have no caption" in printed


def test_captions_of_the_same_words_are_said(open_catalogue, tmp_path, capsys):
  rows = captions()
  open_catalogue(captions=write_csv(tmp_path / "captions.csv", rows))
  assert "same words" not in capsys.readouterr().err
  twin = {**rows[0], "image": name(6), "caption": rows[0]["caption"].upper() + "!"}
  open_catalogue(captions=write_csv(tmp_path / "captions.csv", [*rows, twin]))
  assert f"1 captions have the same words as others, for example {twin['caption']!r} as {rows[0]['caption']!r}" in (
    capsys.readouterr().err
  )


def test_missing_images_are_refused_or_left_out_and_counted(open_catalogue, tmp_path):
  rows = tiny_datasets.catalogue_triplets()
  rows[0]["target"], rows[2]["reference"] = "none.png", "no/one.png"
  path = write_csv(tmp_path / "rows.csv", rows)
  with pytest.raises(
    InputError, match="2 images .* not on the disk, for example 'no/one.png' in .*allow_missing_images"
  ):
    open_catalogue(triplets=path)
  for _ in ("prepares", "opens what is prepared"):
    dataset = open_catalogue(triplets=path, allow_missing_images=True)
    assert dataset.queries.target_labels == [name(6)]
    assert dataset.train_triplets.texts() == ["make it long"]
    assert dataset.num_left_out == dict.fromkeys(
      ("num_missing_images", "num_missing_queries", "num_missing_train_images", "num_missing_train_queries"), 1
    )


def test_bad_images_are_left_out_with_their_queries(tmp_path):
  raw = tiny_datasets.make_catalogue(tmp_path / "images")
  (raw / name(4)).write_bytes(b"no image")
  config = catalogue.get_config().data
  triplets = write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets())
  config.update(dir=str(raw), prepared_dir=str(tmp_path), triplets=triplets, on_bad_image="skip", num_workers=0)
  dataset = open_dataset(config, "modification")
  assert dataset.queries.target_labels == [name(6)]
  assert (dataset.num_left_out["num_bad_images"], dataset.num_left_out["num_bad_queries"]) == (1, 1)
  config.triplets = ""
  assert len(open_dataset(config, "modification").gallery) == 9


BAD_TRIPLETS = [
  ({"text": " "}, "rows.csv:2: text: a blank text"),
  ({"text": "red " * 2000}, "rows.csv:2: text: a text of 2,000 words"),
  ({"reference": ""}, "rows.csv:2: reference: '', expected a path below"),
  ({"target": "../secret.png"}, r"rows.csv:2: target: '../secret.png', expected a path below"),
  ({"target": "/etc/passwd"}, r"rows.csv:2: target: '/etc/passwd', expected a path below"),
  ({"split": "val"}, "rows.csv:2: split is 'val', expected train or test in every row"),
  ({"split": ""}, "rows.csv:2: split is '', expected train or test in every row"),
]


@pytest.mark.parametrize("change, message", BAD_TRIPLETS, ids=range(len(BAD_TRIPLETS)))
def test_bad_triplets_are_refused_with_row_and_column(open_catalogue, tmp_path, change, message):
  rows = tiny_datasets.catalogue_triplets()
  with pytest.raises(InputError, match=message):
    open_catalogue(triplets=write_csv(tmp_path / "rows.csv", [rows[0] | change, *rows[1:]]))


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda rows: [*rows, rows[0]], "captions.csv: .*0.png' is listed twice: an image has one caption"),
    (
      lambda rows: [row | {"split": "train"} for row in rows],
      r"captions.csv: no query to test on: 0 of 6 images are for test, with 0 captions",
    ),
    (
      lambda rows: [row | {"caption": f"{'abcdef'[i]} {'uvwxyz'[i]}"} for i, row in enumerate(rows)],
      "no query to test on: . of 6 images are for test, with . captions of which no two differ in one word",
    ),
    (lambda rows: without(rows, "caption"), "captions.csv: no column caption"),
  ],
  ids=["twice", "no test", "no siblings", "no caption"],
)
def test_bad_captions_are_refused(open_catalogue, tmp_path, change, message):
  with pytest.raises(InputError, match=message):
    open_catalogue(captions=write_csv(tmp_path / "captions.csv", change(captions())))


def test_folders_and_files_that_are_not_there_are_named(open_catalogue, tmp_path):
  with pytest.raises(InputError, match="none is no folder\n.*\n.*data.triplets=FILE"):
    open_catalogue(dir=str(tmp_path / "none"))
  with pytest.raises(InputError, match="data.dir is not set"):
    open_catalogue(dir="")
  (tmp_path / "empty").mkdir()
  with pytest.raises(InputError, match="empty has no images .*.jpeg"):
    open_catalogue(dir=str(tmp_path / "empty"))
  with pytest.raises(InputError, match="none.csv cannot be read: No such file"):
    open_catalogue(triplets=str(tmp_path / "none.csv"))


def test_a_path_that_is_relative_to_another_folder_is_said(open_catalogue, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(
    InputError, match=f"config.data.dir=pictures leads to no folder from {tmp_path}, where the command"
  ):
    open_catalogue(dir="pictures")
  with pytest.raises(InputError, match=f"rows.csv cannot be read from {tmp_path}: No such file"):
    open_catalogue(triplets="rows.csv")


def test_rows_may_be_in_json_lines(open_catalogue, tmp_path):
  path = tmp_path / "rows.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in tiny_datasets.catalogue_triplets()))
  assert open_catalogue(triplets=str(path)).queries.texts == ["make it blue", "make it new"]


def test_images_behind_a_link_are_found(open_catalogue, raw, tmp_path):
  folder = tmp_path / "linked"
  folder.mkdir()
  (folder / "all").symlink_to(raw)
  rows = [
    row | {key: f"all/{row[key]}" for key in ("reference", "target")} for row in tiny_datasets.catalogue_triplets()
  ]
  dataset = open_catalogue(dir=str(folder), triplets=write_csv(tmp_path / "rows.csv", rows))
  assert {*dataset.gallery.names, *dataset.train_images.names} == {
    f"all/{name}" for name in map(tiny_datasets.catalogue_name, range(10))
  }


def test_tables_of_an_older_version_with_odd_names_are_said(open_catalogue, tmp_path, monkeypatch, capsys):
  fields = {"triplets": write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets())}
  open_catalogue(**fields)
  assert "older version" not in capsys.readouterr().err
  read = PreparedData.columns

  def older(self, table, split):
    columns = dict(read(self, table, split))
    return columns | ({"name": ["./a.png", *columns["name"][1:]]} if table == "labels" else {})

  monkeypatch.setattr(PreparedData, "columns", older)
  open_catalogue(**fields)
  said = capsys.readouterr().err
  assert "was prepared by an older version: of 1 names such as ./a.png" in said
  assert said.count("Delete this folder") == 1


def test_an_image_has_one_name_however_rows_write_it(open_catalogue, tmp_path):
  rows = tiny_datasets.catalogue_triplets()
  expected = open_catalogue(triplets=write_csv(tmp_path / "rows.csv", rows))
  written = [row | {"target": f"./{row['target']}", "reference": f".//{row['reference']}"} for row in rows]
  dataset = open_catalogue(triplets=write_csv(tmp_path / "written.csv", written))
  assert list(dataset.gallery.names) == list(expected.gallery.names)


def megapairs_rows():
  """Rows as MegaPairs has them: the query's image is the first negative."""
  return [
    {
      "q_img": name(0),
      "q_text": ["make it red", "in red"],
      "t_img": name(1),
      "hns": [name(0), name(2), name(3), name(4)],
    },
    {"q_img": name(2), "q_text": ["make it long"], "t_img": name(3), "hns": [name(2)]},
    {"q_img": name(5), "q_text": ["make it blue"], "t_img": name(6), "hns": []},
  ]


def write_jsonl(path, rows, splits=("train", "train", "test")):
  path.write_text("".join(json.dumps(row | {"split": split}) + "\n" for row, split in zip(rows, splits, strict=True)))
  return str(path)


def test_megapairs_rows_draw_a_text_and_the_order_of_negatives(open_catalogue, tmp_path):
  dataset = open_catalogue(triplets=write_jsonl(tmp_path / "rows.jsonl", megapairs_rows()), negatives_per_query=2)
  assert dataset.train_triplets.num_items == 2
  assert dataset.train_triplets.texts() == ["make it red", "make it long", "in red"]
  names = dataset.train_images.names
  assert names == sorted(name(i) for i in range(5))
  orders, texts = set(), set()
  for seed in range(20):
    (triplet,) = dataset.train_triplets.sample(0, lambda seed=seed: np.random.default_rng(seed))
    first, *others = (names[row] for row in triplet.negatives)
    assert first == name(0) and sorted(others) == sorted([name(2), name(3), name(4)])
    orders.add(tuple(others))
    texts.add(triplet.text)
  assert len(orders) > 2 and texts == {"make it red", "in red"}
  assert dataset.train_triplets.sample(1, lambda: pytest.fail("a generator was made"))[0].text == "make it long"


@pytest.mark.parametrize(
  ("text_query", "template", "expected"),
  [
    ("complete", (), {"shirt make it red", "shirt in red", "shirt make it long"}),
    ("modification", ("a photo, {caption}",), {"a photo, make it red", "a photo, in red", "a photo, make it long"}),
  ],
)
def test_texts_that_stand_for_one_another_are_completed_alike(raw, tmp_path, text_query, template, expected):
  rows = [row | {"category": "shirt"} for row in megapairs_rows()]
  config = catalogue.get_config().data
  config.update(dir=str(raw), prepared_dir=str(tmp_path), negatives_per_query=1)
  config.triplets = write_jsonl(tmp_path / "rows.jsonl", rows)
  assert set(open_dataset(config, text_query, templates=template).train_triplets.texts()) == expected


def test_tested_rows_are_a_query_for_each_text(open_catalogue, tmp_path):
  rows = write_jsonl(tmp_path / "rows.jsonl", megapairs_rows(), ("test", "train", "train"))
  queries = open_catalogue(triplets=rows, negatives_per_query=1).queries
  assert queries.texts == ["make it red", "in red"] and len(set(queries.references.tolist())) == 1
  with pytest.raises(InputError, match=r"rows\.jsonl:1: text is \[\], expected a text"):
    open_catalogue(triplets=write_jsonl(tmp_path / "rows.jsonl", [megapairs_rows()[0] | {"q_text": []}], ("train",)))


def test_negatives_come_with_their_labels_and_absent_ones_with_none(open_catalogue, tmp_path):
  dataset = open_catalogue(triplets=write_jsonl(tmp_path / "rows.jsonl", megapairs_rows()), negatives_per_query=2)
  labels = label_numbers(dataset.train_images.labels)
  reader = TokenReader(Vocabulary.from_texts(dataset.train_triplets.texts()), 3)
  batch = LoadRows(TripletStream(dataset.train_triplets, seed=0), reader, labels, 2).map(np.arange(2))
  target, negative = (dataset.train_images.names.index(name(i)) for i in (3, 2))
  (row,) = np.flatnonzero(batch["target"] == target)
  np.testing.assert_array_equal(batch["negative"][row], [negative, target])
  np.testing.assert_array_equal(batch["negative_label"][row], [labels[negative], ABSENT])
  np.testing.assert_array_equal(batch["target_label"], labels[batch["target"]])


def test_negatives_of_a_csv_file_have_bars_between_them(open_catalogue, tmp_path):
  rows = [row | {"negatives": f"{name(2)}|{name(0)}"} for row in tiny_datasets.catalogue_triplets()]
  dataset = open_catalogue(triplets=write_csv(tmp_path / "rows.csv", rows), negatives_per_query=1)
  (triplet,) = dataset.train_triplets.sample(0, lambda: np.random.default_rng(0))
  assert [dataset.train_images.names[row] for row in triplet.negatives] == [name(2), name(0)]


def test_rows_without_negatives_are_refused_where_they_are_asked_for(open_catalogue, tmp_path):
  with pytest.raises(InputError, match="no column negatives"):
    open_catalogue(triplets=write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets()), negatives_per_query=1)
