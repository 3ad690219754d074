"""Annotation files of any content: each is read, or refused with its name."""

import json

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from data_pipelines.datasets.css3d import DESCRIPTION
from data_pipelines.datasets.zero_shot.genecis import TASKS
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets, tiny_zero_shot
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

CIRR_MEMBERS = tiny_datasets.cirr_names("val")[6:12]
JSON = st.recursive(
  st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()) | st.sampled_from(NAMES),
  lambda inner: (
    st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["candidate", "target", "captions", "x"]), inner, max_size=4)
  ),
  max_leaves=12,
)
QUERY = st.fixed_dictionaries(
  {
    "candidate": st.sampled_from(NAMES) | JSON,
    "target": st.sampled_from(NAMES) | JSON,
    "captions": st.lists(JSON) | JSON,
  }
)
LINE = st.lists(
  st.sampled_from([tiny_datasets.fashion200k_name("test", 0), "black top", "\t", " ", "\n", "0.9", "\r"]) | st.text(),
  max_size=6,
).map("".join)
CSS = st.recursive(
  st.none() | st.integers(-2, 4) | st.text(max_size=5) | st.binary(max_size=5) | st.floats(),
  lambda inner: (
    st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["from", "to", "to_str", "mods", "labels", "objects_img"]), inner, max_size=5)
  ),
  max_leaves=12,
)
CSS_SPLIT = st.fixed_dictionaries(
  {
    "objects_img": st.lists(st.none(), max_size=4) | CSS,
    "mods": st.lists(st.fixed_dictionaries({"from": CSS, "to": CSS, "to_str": st.text() | CSS}), max_size=3) | CSS,
  },
  optional={"labels": CSS},
)

CIRR_QUERY = st.fixed_dictionaries(
  {
    "pairid": st.integers() | JSON,
    "reference": st.sampled_from(CIRR_MEMBERS) | JSON,
    "target_hard": st.sampled_from(CIRR_MEMBERS) | JSON,
    "caption": st.text() | JSON,
    "img_set": st.just({"members": CIRR_MEMBERS}) | st.fixed_dictionaries({"members": st.lists(JSON) | JSON}) | JSON,
  }
)
CIRCO_IMAGE = st.sampled_from(tiny_datasets.CIRCO_IDS) | JSON
CIRCO_QUERY = st.fixed_dictionaries(
  {
    "id": st.integers() | JSON,
    "reference_img_id": CIRCO_IMAGE,
    "target_img_id": CIRCO_IMAGE,
    "gt_img_ids": st.lists(CIRCO_IMAGE, max_size=3) | JSON,
    "relative_caption": st.text() | JSON,
  }
)

GENECIS_INSTANCE = JSON | st.fixed_dictionaries(
  {
    "image_id": st.integers() | JSON,
    "val_image_id": st.sampled_from(tiny_zero_shot.COCO_IDS) | JSON,
    "instance_bbox": st.lists(st.integers(-5, 30) | JSON, min_size=4, max_size=4) | JSON,
  }
)
GENECIS_TEMPLATE = st.fixed_dictionaries(
  {
    "reference": GENECIS_INSTANCE,
    "target": GENECIS_INSTANCE,
    "gallery": st.lists(GENECIS_INSTANCE, max_size=3) | JSON,
    "condition": st.text() | JSON,
  }
)
LASCO_IMAGE = JSON | st.tuples(st.integers(), st.text() | st.just(tiny_zero_shot.lasco_name("val", 1))).map(list)
LASCO_TRIPLET = st.fixed_dictionaries(
  {
    "qid": st.integers() | JSON,
    "query-image": LASCO_IMAGE,
    "target-image": LASCO_IMAGE,
    "query-text": st.text() | JSON,
  }
)
COCO_LINE = st.lists(
  st.text(max_size=4) | st.sampled_from(["000000000139.jpg", "1;2;3;4 ", "dog", "nan;1;2;3"]), max_size=5
).map(",".join)

FILES = st.one_of(
  st.tuples(
    st.just("genecis"),
    st.sampled_from([f"genecis/{task}.json" for task in TASKS]),
    st.lists(GENECIS_TEMPLATE | JSON, max_size=2).map(json.dumps),
  ),
  st.tuples(
    st.just("lasco"),
    st.sampled_from(["lasco_val.json", "lasco_train.json", "lasco_val_corpus.json"]),
    st.lists(LASCO_TRIPLET | JSON, max_size=2).map(json.dumps),
  ),
  st.tuples(
    st.just("imagenet_domains"),
    st.sampled_from(["imgnet/imgnet_real_query.txt", "imgnet/imgnet_targets.txt"]),
    st.lists(LINE | st.sampled_from(["a.jpg 3", "real/a.jpg -1"]), max_size=3).map("\n".join) | st.binary(),
  ),
  st.tuples(
    st.just("coco_objects"),
    st.just("coco/coco_eval.csv"),
    st.lists(COCO_LINE, max_size=3).map(lambda lines: "\n".join(["id,query_regions,query_class,classes", *lines]))
    | st.binary(),
  ),
  st.tuples(st.just("cirr"), st.sampled_from([CIRR_VAL, CIRR_TEST]), st.lists(CIRR_QUERY, max_size=3).map(json.dumps)),
  st.tuples(st.just("cirr"), st.just(CIRR_SPLIT), st.dictionaries(st.text(), st.text() | JSON).map(json.dumps)),
  st.tuples(
    st.just("circo"), st.sampled_from([CIRCO_VAL, CIRCO_TEST]), st.lists(CIRCO_QUERY, max_size=3).map(json.dumps)
  ),
  st.tuples(
    st.just("circo"), st.just(COCO_LIST), st.dictionaries(st.just("images"), st.lists(JSON) | JSON).map(json.dumps)
  ),
  st.tuples(st.just("fashion_iq"), st.sampled_from([CAPTIONS, SPLIT]), st.lists(QUERY, max_size=3).map(json.dumps)),
  st.tuples(st.just("fashion_iq"), st.sampled_from([CAPTIONS, SPLIT]), JSON.map(json.dumps) | st.binary()),
  st.tuples(
    st.just("fashion200k"),
    st.sampled_from([LABELS, TEST_LABELS, QUERIES]),
    st.lists(LINE, max_size=4).map("\n".join) | st.binary(),
  ),
  st.tuples(
    st.just("css3d"),
    st.just(DESCRIPTION),
    st.fixed_dictionaries({"train": CSS_SPLIT, "test": CSS_SPLIT}).map(described) | st.binary(),
  ),
)


@pytest.fixture(scope="module")
def all_raw(tmp_path_factory):
  names = MAKE.keys() - {"mit_states"}
  return {name: MAKE[name](tmp_path_factory.mktemp(name) / "raw") for name in names}


@settings(max_examples=250, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(FILES)
def test_no_annotation_file_ends_in_another_error_than_ours(all_raw, tmp_path_factory, drawn):
  """It is read, or refused with its name."""
  dataset, name, content = drawn
  file = all_raw[dataset] / name
  whole = file.read_bytes()
  try:
    file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    read_tables(dataset, all_raw[dataset], tmp_path_factory.getbasetemp())
  except InputError as error:
    assert str(error)
  finally:
    file.write_bytes(whole)
