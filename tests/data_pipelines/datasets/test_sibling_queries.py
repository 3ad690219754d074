import tracemalloc

from data_pipelines.datasets.sibling_queries import sibling_queries
from data_pipelines.datasets.tables.rows import Image


def image(row, caption, group=""):
  return Image(f"{row}.png", caption, b"", group)


def test_an_image_is_a_query_for_a_caption_that_differs_in_a_word():
  captions = ["red hat", "blue hat", "red hat", "old green coat", "red shoe"]
  queries = sibling_queries([image(row, caption, "sale") for row, caption in enumerate(captions)])
  assert [query.reference for query in queries] == [0, 1, 2, 4]
  assert {query.group for query in queries} == {"sale"}
  asked = [(query.modification, query.target_label) for query in queries]
  assert asked[1] == ("replace blue with red", "red hat")
  assert asked[3] == ("replace shoe with hat", "red hat")
  assert {asked[0], asked[2]} <= {("replace red with blue", "blue hat"), ("replace hat with shoe", "red shoe")}


def test_many_captions_with_one_parent_take_memory_for_one_at_a_time():
  images = [image(row, f"product{row} red") for row in range(1000)]
  tracemalloc.start()
  queries = sibling_queries(images)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert len(queries) == 1000
  assert peak < 10e6  # bytes; the siblings of all captions at once take 50 MB
