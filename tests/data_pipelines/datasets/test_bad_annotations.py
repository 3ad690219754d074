"""Annotation files as they should not be, over the builders: each is refused with its place, or read as said here."""

import json

import numpy as np
import pytest

from data_pipelines.datasets.css3d import DESCRIPTION
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets
from tests.fakes.raw_tables import (
  CAPTIONS,
  CIRCO_TEST,
  CIRCO_VAL,
  CIRR_SPLIT,
  CIRR_TEST,
  CIRR_VAL,
  COCO_LIST,
  described,
  LABELS,
  MAKE,
  NAMES,
  QUERIES,
  read_tables,
  SPLIT,
  TEST_LABELS,
)


@pytest.fixture
def raw(request, tmp_path):
  return MAKE[request.param](tmp_path / "raw")


def css3d(change) -> bytes:
  """The description after `change` of its dictionary."""
  content = {split: dict(own) for split, own in tiny_datasets.CSS3D.items()}
  return described(change(content) or content)


def changed_test(**fields):
  def change(content):
    content["test"].update(fields)

  return css3d(change)


def one_query(**fields) -> bytes:
  query = {"candidate": NAMES[0], "target": NAMES[1], "captions": ["is red", "is long"]} | fields
  return json.dumps([{name: value for name, value in query.items() if value is not None}]).encode()


def second(query, **fields) -> bytes:
  """Two queries of the function `query`, the second with some fields changed, or left out where they are None."""
  changed = {name: value for name, value in (query(1) | fields).items() if value is not None}
  return json.dumps([query(0), changed]).encode()


def cirr(**fields) -> bytes:
  return second(lambda number: tiny_datasets.cirr_query("val", number), **fields)


def cirr_test(**fields) -> bytes:
  return second(lambda number: tiny_datasets.cirr_query("test1", number), **fields)


def circo(**fields) -> bytes:
  return second(lambda number: tiny_datasets.circo_query("val", number), **fields)


def circo_test(**fields) -> bytes:
  return second(lambda number: tiny_datasets.circo_query("test", number), **fields)


CIRR_MEMBERS = tiny_datasets.cirr_names("val")[6:12]
CIRCO_RIGHT = tiny_datasets.CIRCO_IDS[5:8]


def label(name="women/test/a_caption/0/0_0.jpeg", caption="black top") -> bytes:
  return f"{name}\t0.9\t{caption}\n".encode()


BAD = [
  ("fashion200k", LABELS, b"", "no images"),
  ("fashion200k", LABELS, b"\xff\xfe" + "a\tb\tc".encode("utf-16-le"), "_train_detect_all.txt:1: not UTF-8"),
  ("fashion200k", LABELS, label("a") + b"a\t0.9\tcaf\xe9\n", "_train_detect_all.txt:2: not UTF-8 .byte 0xe9."),
  ("fashion200k", LABELS, b"only one field\n", ":1: 'only one field', expected path, detection score and caption"),
  ("fashion200k", LABELS, b"a\t0.9\n", "expected path, detection score and caption"),
  ("fashion200k", LABELS, b"a\t0.9\tred dress\tmore\n", "expected path, detection score and caption"),
  ("fashion200k", LABELS, b"\t0.9\tred dress\n", ":1: '', expected a path below"),
  ("fashion200k", LABELS, label("/etc/passwd"), ":1: '/etc/passwd', expected a path below"),
  ("fashion200k", LABELS, label("women/../../secret.jpeg"), "expected a path below the data set's folder"),
  ("fashion200k", LABELS, label("a\0b"), "expected a path below"),
  ("fashion200k", LABELS, label("x" * 5000), "1 images of .* are missing"),
  ("fashion200k", LABELS, label("women/none.jpeg"), "1 images of .* are missing, for example .*women/none.jpeg"),
  ("fashion200k", TEST_LABELS, label(caption=""), ":1: a blank text"),
  ("fashion200k", TEST_LABELS, label(caption=" \u00a0 "), ":1: a blank text"),
  ("fashion200k", TEST_LABELS, label(caption="red " * 10_000), ":1: a text of 10,000 words, expected at most 1,000"),
  ("fashion200k", TEST_LABELS, 2 * label(), "0_0.jpeg' is listed twice"),
  ("fashion200k", QUERIES, b"", "no queries"),
  ("fashion200k", QUERIES, b"one\n", "test_queries.txt:1: 'one', expected two paths"),
  ("fashion200k", QUERIES, b"\n\na b c\n", "test_queries.txt:3: 'a b c', expected two paths"),
  ("fashion200k", QUERIES, b"who knows\n", "test_queries.txt:1: 'who knows', expected two paths that"),
  ("fashion200k", QUERIES, b"\x80\n", "test_queries.txt:1: not UTF-8"),
  ("fashion_iq", CAPTIONS, b"", "cap.shirt.val.json: not JSON"),
  ("fashion_iq", CAPTIONS, one_query()[:-9], "cap.shirt.val.json: not JSON"),
  ("fashion_iq", CAPTIONS, b'["\xe9"]', "cap.shirt.val.json:1: not UTF-8 .byte 0xe9."),
  ("fashion_iq", CAPTIONS, b"{}", "a JSON dict, expected a list"),
  ("fashion_iq", CAPTIONS, b"[" * 100_000, "cap.shirt.val.json: not JSON"),
  ("fashion_iq", CAPTIONS, b"[]", "no test query of shirt has both"),
  ("fashion_iq", CAPTIONS, b"[null]", "query 0: expected candidate, captions and target, found None"),
  ("fashion_iq", CAPTIONS, one_query(candidate=None), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(target=None), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(captions=None), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(captions=[]), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(captions="is red"), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(captions=["is red", 7]), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(candidate=7), "query 0: expected candidate, captions and target"),
  ("fashion_iq", CAPTIONS, one_query(captions=["", " . "]), "query 0: a blank text"),
  ("fashion_iq", CAPTIONS, one_query(captions=["red " * 10_000]), "query 0: a text of 10,000 words"),
  ("fashion_iq", CAPTIONS, one_query(captions=["\ud800"]), "query 0: .* is not Unicode"),
  ("fashion_iq", CAPTIONS, one_query(candidate="../secret"), "query 0: '../secret', expected a path below"),
  ("fashion_iq", CAPTIONS, one_query(candidate="nobody"), "val.json names nobody, image_splits/split.shirt.val.json"),
  ("fashion_iq", CAPTIONS, one_query(candidate="dress0"), "val.json names dress0, image_splits/split.shirt.val.json"),
  ("fashion_iq", SPLIT, b"7", "split.shirt.val.json: a JSON int, expected a list"),
  ("fashion_iq", SPLIT, b"[7]", "expected a list of image names, found 7"),
  ("fashion_iq", SPLIT, json.dumps([*NAMES, NAMES[0]]).encode(), "split.shirt.val.json: 'shirt0' is listed twice"),
  ("fashion_iq", SPLIT, json.dumps([*NAMES, "nobody"]).encode(), "missing: .*nobody"),
  ("css3d", DESCRIPTION, b"", "cannot be read as CSS3D's description"),
  ("css3d", DESCRIPTION, described({})[:100], "cannot be read as CSS3D's description"),
  ("css3d", DESCRIPTION, described(tiny_datasets.CSS3D)[:-40], "cannot be read as CSS3D's description"),
  ("css3d", DESCRIPTION, described({"train": {}}), "cannot be read as CSS3D's description"),
  ("css3d", DESCRIPTION, described([1, 2]), "cannot be read as CSS3D's description"),
  ("css3d", DESCRIPTION, changed_test(labels=np.array([1])), "test has 3 images, but 1 labels"),
  ("css3d", DESCRIPTION, changed_test(mods=[]), "no queries"),
  ("css3d", DESCRIPTION, changed_test(objects_img=[], labels=[]), "no images|names image 0, of 0"),
  ("css3d", DESCRIPTION, changed_test(objects_img=[[]] * 9, labels=list(range(9))), "6 images .* are missing"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0], "to": [1]}]), "to_str"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0], "to": [1], "to_str": 7}]), "to_str is 7, expected a text"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0], "to": [1], "to_str": " "}]), "0: a blank text"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0], "to": [1], "to_str": "a " * 10_000}]), "of 10,000 words"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0], "to": [3], "to_str": "a"}]), "names image 3, of 3"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [-1], "to": [1], "to_str": "a"}]), "names image -1, of 3"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0, 1], "to": [1], "to_str": "a"}]), "from 2 images to 1"),
  ("css3d", DESCRIPTION, changed_test(mods=[{"from": [0.5], "to": [1], "to_str": "a"}]), "cannot be read as CSS3D"),
  ("cirr", CIRR_VAL, b"{}", "cap.rc2.val.json: a JSON dict, expected a list"),
  ("cirr", CIRR_VAL, b"[]", "no queries"),
  ("cirr", CIRR_VAL, b"[7]", "val.json: query 0: expected pairid, reference and caption and target_hard, found 7"),
  ("cirr", CIRR_VAL, cirr(pairid=None), "val.json: query 1: expected pairid"),
  ("cirr", CIRR_VAL, cirr(pairid="101"), "val.json: query 1: expected pairid"),
  ("cirr", CIRR_VAL, cirr(pairid=100), "val.json: query 1: pairid 100 is there before"),
  ("cirr", CIRR_VAL, cirr(target_hard=None), "val.json: query 1: expected pairid"),
  ("cirr", CIRR_VAL, cirr(caption=" "), "val.json: query 1: a blank text"),
  ("cirr", CIRR_VAL, cirr(caption="red " * 10_000), "val.json: query 1: a text of 10,000 words"),
  ("cirr", CIRR_VAL, cirr(img_set=None), "val.json: query 1: expected img_set with a list of members, found None"),
  ("cirr", CIRR_VAL, cirr(img_set={"members": CIRR_MEMBERS[:5]}), "val.json: query 1: expected 6 different members"),
  ("cirr", CIRR_VAL, cirr(img_set={"members": CIRR_MEMBERS[:5] * 2}), "query 1: expected 6 different members"),
  ("cirr", CIRR_VAL, cirr(reference="dev-9-0-img0"), "query 1: reference or target is no member of its img_set"),
  ("cirr", CIRR_VAL, cirr(target_hard="dev-9-0-img0"), "query 1: reference or target is no member of its img_set"),
  ("cirr", CIRR_VAL, cirr(img_set={"members": [*CIRR_MEMBERS[:5], "x"]}), "query 1 names 'x', .*val.json does not"),
  ("cirr", CIRR_TEST, cirr_test(reference=None), "test1.json: query 1: expected pairid, reference and caption, found"),
  ("cirr", CIRR_TEST, cirr_test(caption=None), "test1.json: query 1: expected pairid, reference and caption, found"),
  ("cirr", CIRR_SPLIT, b"[]", "split.rc2.val.json: a JSON list, expected an object"),
  ("cirr", CIRR_SPLIT, b'{"a": 7}', "split.rc2.val.json: 'a': expected a path, found 7"),
  ("cirr", CIRR_SPLIT, b'{"a": "../a.png"}', "split.rc2.val.json: 'a': '../a.png', expected a path below"),
  ("cirr", CIRR_SPLIT, json.dumps({"a": "x" * 5000}).encode(), "missing: .*xxx|names .*val.json does not"),
  ("cirr", CIRR_SPLIT, b'{"a": "dev/none.png"}', "missing: .*dev/none.png|names .*val.json does not"),
  ("circo", CIRCO_VAL, b"{}", "val.json: a JSON dict, expected a list"),
  ("circo", CIRCO_VAL, circo(id=None), "val.json: query 1: expected id, reference_img_id and relative_caption"),
  ("circo", CIRCO_VAL, circo(id=0), "val.json: query 1: id 0 is there before"),
  ("circo", CIRCO_VAL, circo(id=True), "val.json: query 1: expected id"),
  ("circo", CIRCO_VAL, circo(reference_img_id="23"), "val.json: query 1: expected id"),
  ("circo", CIRCO_VAL, circo(reference_img_id=8), "val.json: query 1 names image 8, which is not in annotations/image"),
  ("circo", CIRCO_VAL, circo(gt_img_ids=[*CIRCO_RIGHT, 9]), "val.json: query 1 names image 9"),
  ("circo", CIRCO_VAL, circo(gt_img_ids=7), "val.json: query 1: expected target_img_id and a list of gt_img_ids"),
  ("circo", CIRCO_VAL, circo(gt_img_ids=[]), "val.json: query 1: expected different gt_img_ids, with the target"),
  ("circo", CIRCO_VAL, circo(gt_img_ids=CIRCO_RIGHT * 2), "val.json: query 1: expected different gt_img_ids"),
  ("circo", CIRCO_VAL, circo(relative_caption=""), "val.json: query 1: a blank text"),
  ("circo", CIRCO_TEST, circo_test(relative_caption=None), "test.json: query 1: expected id, reference_img_id"),
  ("circo", COCO_LIST, b"{}", "image_info_unlabeled2017.json: expected a list of images, found None"),
  ("circo", COCO_LIST, b'{"images": [{"id": 7}, {}]}', "2017.json: image 1: expected an id, found {}"),
  ("circo", COCO_LIST, b'{"images": [{"id": 7}, {"id": 7}]}', "2017.json: an id is listed twice"),
  ("circo", COCO_LIST, b'{"images": [{"id": 8}]}', "1 images that .* lists are missing: .*/000000000008.jpg"),
  ("mit_states", "images/old cat hat/0.jpg", b"", "more than the two words"),
  ("mit_states", "images/ cat/0.jpg", b"", "not the two words"),
  ("mit_states", "images/old /0.jpg", b"", "not the two words"),
]


def test_there_are_many():
  assert len(BAD) >= 30


@pytest.mark.parametrize("raw, file, content, message", BAD, indirect=["raw"], ids=range(len(BAD)))
def test_bad_annotations_are_refused_with_their_place(request, raw, file, content, message, tmp_path):
  dataset = request.node.callspec.params["raw"]
  (raw / file).parent.mkdir(exist_ok=True)
  (raw / file).write_bytes(content)
  with pytest.raises(InputError, match=message):
    read_tables(dataset, raw, tmp_path)


@pytest.mark.parametrize(
  "change",
  [
    lambda content: b"\xef\xbb\xbf" + content,
    lambda content: content.replace(b"\n", b"\r\n"),
    lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n  \r\n",
  ],
  ids=["byte order mark", "CRLF", "both, and blank lines"],
)
@pytest.mark.parametrize(
  "raw, files",
  [("fashion200k", (LABELS, TEST_LABELS, QUERIES)), ("fashion_iq", (CAPTIONS, SPLIT))],
  indirect=["raw"],
)
def test_marks_and_line_ends_of_windows_change_nothing(request, raw, files, change, tmp_path):
  dataset = request.node.callspec.params["raw"]
  before = read_tables(dataset, raw, tmp_path)
  for file in files:
    (raw / file).write_bytes(change((raw / file).read_bytes()))
  assert read_tables(dataset, raw, tmp_path) == before


@pytest.mark.parametrize("raw", ["fashion_iq"], indirect=True)
def test_of_two_captions_one_may_be_blank(raw, tmp_path):
  (raw / CAPTIONS).write_bytes(one_query(captions=["is red", ""]))
  (query,) = (q for q in read_tables("fashion_iq", raw, tmp_path)["queries", "test"] if q.group == "shirt")
  assert query.modification == "Is red and "


@pytest.mark.parametrize("raw", ["fashion200k"], indirect=True)
def test_repeated_queries_are_kept_and_said(raw, tmp_path, capsys):
  (raw / QUERIES).write_bytes(2 * (raw / QUERIES).read_bytes())
  assert len(read_tables("fashion200k", raw, tmp_path)["queries", "test"]) == 4
  assert "2 of 4 queries are there before, and are kept" in capsys.readouterr().err


@pytest.mark.parametrize("raw", ["cirr"], indirect=True)
def test_a_text_for_a_test_server_may_be_blank_and_that_is_said(raw, tmp_path, capsys):
  queries = read_tables("cirr", raw, tmp_path)["queries", "submission"]
  assert [query.modification for query in queries].count(" ") == 1
  assert "submission: 1 of 10 texts are blank, and kept as texts of no words" in capsys.readouterr().err


@pytest.mark.parametrize("raw", ["mit_states"], indirect=True)
def test_what_mit_states_leaves_out_is_said(raw, tmp_path, capsys):
  """The published loader reads *.jpg in folders of two words alone."""
  for name in ("dark sky/9.png", "single/0.jpg", "adj sky/0.jpg"):
    (raw / "images" / name).parent.mkdir(exist_ok=True)
    (raw / "images" / name).touch()
  assert len(read_tables("mit_states", raw, tmp_path)["images", "test"]) == 12
  assert "3 entries are no *.jpg in a folder 'adjective noun' and are left out" in capsys.readouterr().err
