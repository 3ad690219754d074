"""Raw files of each data set, tiny, and what would be prepared of them."""

from collections.abc import Mapping
import pathlib
import pickle

import numpy as np

from data_pipelines.datasets.fashion_iq import CATEGORIES
from data_pipelines.datasets.prepare import BUILDERS
from data_pipelines.datasets.zero_shot.genecis import TASKS
from data_pipelines.datasets.zero_shot.imagenet_domains import DOMAINS
from data_pipelines.input_error import InputError
from tests.fakes import tiny, tiny_datasets, tiny_zero_shot

OPTIONS = {
  "fashion_iq": {"categories": CATEGORIES, "allow_missing_images": False},
  "cirr": {"allow_missing_images": False},
  "genecis": {"categories": TASKS},
  "imagenet_domains": {"categories": DOMAINS},
}
MAKE = {
  "circo": tiny_datasets.make_circo,
  "cirr": tiny_datasets.make_cirr,
  "css3d": tiny_datasets.make_css3d,
  "fashion200k": tiny_datasets.make_fashion200k,
  "fashion_iq": tiny_datasets.make_fashion_iq,
  "mit_states": tiny.make_mit_states,
  "coco_objects": tiny_zero_shot.make_coco_objects,
  "genecis": tiny_zero_shot.make_genecis,
  "imagenet_domains": tiny_zero_shot.make_imagenet_domains,
  "lasco": tiny_zero_shot.make_lasco,
}

LABELS, TEST_LABELS = "labels/all_train_detect_all.txt", "labels/all_test_detect_all.txt"
QUERIES = "test_queries.txt"
CAPTIONS, SPLIT = "captions/cap.shirt.val.json", "image_splits/split.shirt.val.json"
NAMES = tiny_datasets.FASHION_IQ_GALLERIES["shirt"]
CIRR_VAL, CIRR_TEST, CIRR_SPLIT = (
  "captions/cap.rc2.val.json",
  "captions/cap.rc2.test1.json",
  "image_splits/split.rc2.val.json",
)
CIRCO_VAL, CIRCO_TEST = "annotations/val.json", "annotations/test.json"
COCO_LIST = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"


def read_tables(dataset: str, folder: pathlib.Path, prepared: pathlib.Path) -> Mapping:
  """What would be prepared, by (table, split), without preparing it."""
  options = OPTIONS.get(dataset, {})
  BUILDERS[dataset].check_raw_files(folder, options)
  missing = BUILDERS[dataset].missing_images(folder, options)
  if missing:
    raise InputError(f"missing: {missing}")
  tables = {}
  for table in ("images", "queries"):
    arguments = {"config": table, "data_dir": str(prepared), "file_format": "array_record", "options": options}
    builder = BUILDERS[dataset](**arguments, raw_folder=folder)
    for split in BUILDERS[dataset].QUERY_SPLITS if table == "queries" else BUILDERS[dataset].IMAGE_SPLITS:
      tables[table, split] = builder.checked_rows(split)
  return tables


def described(content) -> bytes:
  """A description of CSS3D with this content."""
  header = b"\x93NUMPY\1\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (), }"
  return header.ljust(127) + b"\n" + pickle.dumps(np.array(content, dtype=object), protocol=3)
