"""What a row of a catalogue takes of memory, while it is prepared and when it is opened: there may be millions."""

import json
import tracemalloc

import numpy as np
import pytest

from benchmarks.megapairs import image_name
from configs import catalogue
from data_pipelines.datasets.catalogue.builder import Catalogue
from data_pipelines.datasets.catalogue.content import read_content
from data_pipelines.datasets.tables.kept_columns import keep_columns, read_kept_columns
from data_pipelines.datasets.tables.rows import Query
from data_pipelines.prepared.prepared_data import query_table
from data_pipelines.samplers import ListedSampler

NUM_ROWS = 3_000
GIGABYTE_OF_A_MILLION = 1_000  # bytes of a row


@pytest.fixture(scope="module")
def content(tmp_path_factory):
  """Of rows as MegaPairs', and the most bytes that reading them took."""
  folder = tmp_path_factory.mktemp("catalogue")
  for i in range(NUM_ROWS):
    file = folder / "images" / image_name(i)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
  rng = np.random.default_rng(0)
  with (folder / "rows.jsonl").open("w") as file:
    for i in range(NUM_ROWS):
      q_img, t_img, *hard = (image_name(int(j)) for j in (i, *rng.integers(0, NUM_ROWS, 5)))
      texts = [f"make the object number {i} larger", f"show it from above, for the time {i}", f"in colour {i}"]
      file.write(json.dumps({"q_img": q_img, "q_text": texts, "t_img": t_img, "hns": [q_img, *hard]}) + "\n")
  data_config = catalogue.get_config().data
  options = {name: data_config[name] for name in Catalogue.OPTIONS}
  options |= {"triplets": str(folder / "rows.jsonl"), "negatives_per_query": 4, "test_share": 0.001}
  tracemalloc.start()
  content = read_content(folder / "images", options)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  return content, peak


def test_a_row_in_preparation(content):
  """What waits to be written, up to a gigabyte of it, and the program itself come on top."""
  _, peak = content
  assert peak < NUM_ROWS * 1.8 * GIGABYTE_OF_A_MILLION


def test_a_row_of_an_open_table(content, tmp_path):
  queries = content[0].queries["train"]
  columns = {name: [getattr(query, name) for query in queries] for name in Query.__slots__ if name != "fields"}
  keep_columns(tmp_path / "columns.arrow", columns)
  labels = [image.label for image in content[0].images["train"]]
  tracemalloc.start()
  read = read_kept_columns(tmp_path / "columns.arrow")
  table = query_table([Query(*row) for row in zip(*read.values(), strict=True)], "modification")
  sampler = ListedSampler(table, labels)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert sampler.num_items == len(queries)
  assert peak < len(queries) * 2 * GIGABYTE_OF_A_MILLION
