import pytest

from benchmarks.scale import entry_bytes, Figures, needs, num_machines
from composeret_jax.index import Entry

FIGURES = Figures(dim=500, thumbnail_bytes=4000, entry_bytes=600, images_per_second=1000, query_seconds=2e-8)


def test_the_row_of_a_gallery_by_hand():
  row = needs(10**8, FIGURES, memory_gb=100)
  assert row["features GB"] == pytest.approx(200)  # 1e8 x 500 x 4
  assert row["thumbnails GB"] == pytest.approx(400)
  assert row["encode hours"] == pytest.approx(27.78, abs=0.01)  # 1e5 seconds
  assert row["exact: memory GB"] == pytest.approx(260)
  assert row["exact: s/query"] == pytest.approx(2)
  assert row["HNSW GB"] == pytest.approx(212.8)  # and 1e8 x 32 x 4
  assert row["HNSW machines"] == 3  # 212.8 / 75
  assert row["IVF_SQ8 GB"] == pytest.approx(50)
  assert row["IVF_SQ8 machines"] == 1


def test_machines_are_whole():
  assert num_machines(75, memory_gb=100) == 1
  assert num_machines(75.1, memory_gb=100) == 2


def test_an_entry_takes_what_its_texts_take_and_some_objects():
  short, long = ([Entry("x" * length, "0" * 64, "cap", "p" * 10)] for length in (10, 1010))
  difference = entry_bytes(long, num=2000) - entry_bytes(short, num=2000)
  assert 1900 < difference < 2200  # in the entry, and as the key of its place
