import numpy as np

from data_pipelines.tables import ImageTable, QueryTable, without_their_queries

IMAGES = ImageTable(list("abcdef"), list("abcdef"), [b""] * 6, [""] * 6)


def test_every_column_of_a_query_stays_with_it():
  queries = QueryTable(
    np.array([0, 4]), ["one", "two"], ["b", "f"], ["x", "y"], ["7", "8"], [("b",), ("f", "e")], [("b", "c"), ("e", "f")]
  )
  left = without_their_queries(queries, IMAGES, {2})  # "c" is in the first one's subset
  assert left.references.tolist() == [3]
  assert (left.texts, left.target_labels, left.groups, left.ids) == (["two"], ["f"], ["y"], ["8"])
  assert (left.right_labels, left.subsets) == ([("f", "e")], [("e", "f")])


def test_columns_that_a_data_set_lacks_stay_away():
  queries = QueryTable(np.array([0, 4]), ["one", "two"], ["b", "f"], ["", ""])
  left = without_their_queries(queries, IMAGES, {1})
  assert left.texts == ["two"]
  assert (left.ids, left.right_labels, left.subsets) == ((), (), ())
