"""The arithmetic of a gallery's needs, against numbers worked by hand."""

import pytest

from benchmarks import scale

# Round numbers: a feature of 500 x 4 = 2,000 bytes.
MEASURED = scale.Measured(
  dim=500,
  images_per_second=1000.0,
  rows_per_second=2e6,
  batch_rows_per_second=1e7,
  thumbnail_bytes=5000.0,
  entry_disk_bytes=300.0,
  entry_memory_bytes=996.0,
)
LIMITS = scale.Limits(machine_bytes=60e9, num_machines=8, query_seconds=1.0)


def test_a_million_images_by_hand():
  assert scale.storage_row(10**6, MEASURED) == {
    "images": "1,000,000",
    "features, float32": "2",
    "features, float16": "1",
    "norms": "0.004",
    "ids and captions, memory": "0.996",
    "ids and captions, disk": "0.3",
    "thumbnails, disk": "5",
    "hours to encode": "0.278",  # 1,000 seconds
  }


def test_a_billion_images_take_a_thousand_times_as_long():
  row = scale.storage_row(10**9, MEASURED)
  assert row["hours to encode"] == "278"
  assert row["thumbnails, disk"] == "5,000"


def test_exact_search_splits_over_shards():
  # 10^8 x (2,000 + 4 + 996) bytes = 300 GB: five machines of 60 GB. 10^8 rows at 2 x 10^6 a second: 50 s, 10 on each.
  row = scale.search_row(10**8, MEASURED, LIMITS)
  assert (row["shards"], row["one exact query, s"], row["one query over the shards, s"]) == ("5", "50", "10")
  assert row["each of many, s"] == "10"


@pytest.mark.parametrize(("num_bytes", "shards"), [(1, 1), (60e9, 1), (60e9 + 1, 2), (600e9, 10)])
def test_a_machine_is_filled_before_the_next(num_bytes, shards):
  assert scale.num_shards(num_bytes, 60e9) == shards


def test_bytes_of_a_vector_in_each_index():
  # 2,000 + 32 links of 4; 500 codes + an id of 4; an eighth and a tenth of 2,000.
  assert scale.index_bytes(500) == pytest.approx({"exact": 2000, "HNSW": 2128, "IVF_SQ8": 504, "DISKANN": 450})
  row = scale.memory_row(10**8, MEASURED, LIMITS)
  assert row["HNSW"] == "213 (4)"  # 212.8 GB over machines of 60
  assert row["DISKANN"] == "45 (1)"


@pytest.mark.parametrize(
  ("num_images", "index"),
  [
    (2 * 10**6, "exact"),  # 1 s
    (2 * 10**6 + 1, "HNSW"),
    (225 * 10**6, "HNSW"),  # 478.8 GB of 8 x 60
    (226 * 10**6, "IVF_SQ8"),
    (952 * 10**6, "IVF_SQ8"),  # 479.8 GB
    (953 * 10**6, "DISKANN"),
  ],
)
def test_the_advised_index_is_the_first_that_fits(num_images, index):
  assert scale.advise(num_images, MEASURED, LIMITS) == index


def test_exact_is_left_where_memory_ends_however_long_a_query_may_take():
  patient = scale.Limits(machine_bytes=60e9, num_machines=8, query_seconds=1e9)
  assert scale.advise(20 * 10**6, MEASURED, patient) == "exact"  # 20 x 10^6 x 3,000 bytes = 60 GB
  assert scale.advise(20 * 10**6 + 1, MEASURED, patient) == "HNSW"


def test_the_table_is_markdown():
  assert scale.markdown([{"a": "1", "b": "2"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
