import numpy as np
import pytest

from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.evaluation.query_checks import check_gallery, unanswerable_queries
from composeret_jax.training.resume import newest_state
from data_pipelines.input_error import InputError
from data_pipelines.tables import ImageTable, QueryTable


def gallery(*labels, names=None, groups=None):
  names = [f"{i}.jpg" for i in range(len(labels))] if names is None else names
  return ImageTable(names, labels, [b""] * len(labels), groups or [""] * len(labels))


def queries(references, targets):
  return QueryTable(np.array(references, int), ["make it so"] * len(targets), targets, [""] * len(targets))


def one_group(images, asked):
  return np.zeros(len(asked), int), np.zeros(len(images), int)


def test_an_empty_gallery_is_refused():
  with pytest.raises(InputError, match="the gallery is empty, expected images"):
    check_gallery(gallery())


def test_an_image_that_is_twice_in_a_gallery_is_refused_by_name():
  check_gallery(gallery("a", "b", names=["x.jpg", "x.jpg"], groups=["dress", "shirt"]))
  with pytest.raises(InputError, match=r"the gallery has 1 images more than once: 'x\.jpg'"):
    check_gallery(gallery("a", "b", "c", names=["x.jpg", "y.jpg", "x.jpg"]))


def test_no_queries_are_refused():
  images, asked = gallery("a"), queries([], [])
  with pytest.raises(InputError, match="there are no queries"):
    unanswerable_queries(images, asked, one_group(images, asked), excludes_reference=True, allowed=True)


@pytest.mark.parametrize(
  "targets, excludes_reference, expected",
  [
    (["a", "b"], True, []),
    (["a", "z"], True, [1]),  # no image shows z
    (["b", "c"], True, [1]),  # query 1's reference, row 2, is the only c
    (["b", "c"], False, []),
    (["a", "a"], True, []),  # query 0's reference is an a, but there is another
  ],
)
def test_queries_without_a_right_image(targets, excludes_reference, expected, capsys):
  images, asked = gallery("a", "a", "c", "b"), queries([0, 2], targets)
  groups = one_group(images, asked)
  allowed = unanswerable_queries(images, asked, groups, excludes_reference=excludes_reference, allowed=True)
  assert allowed == ({"num_unanswerable_queries": len(expected)} if expected else {})
  assert [f"query {row} " in capsys.readouterr().err for row in expected] == [True] * len(expected)


def test_queries_without_a_right_image_fail_with_a_list_by_default():
  images, asked = gallery("a", "b"), queries([0] * 8, ["z"] * 7 + ["b"])
  with pytest.raises(InputError) as error:
    unanswerable_queries(images, asked, one_group(images, asked), excludes_reference=True, allowed=False)
  message = str(error.value)
  assert message.startswith("7 of 8 queries have no right image in their gallery: query 0 ('make it so', target 'z'), ")
  assert message.count("query ") == 5
  assert "config.eval.allow_unanswerable_queries=True counts them as misses" in message


def test_a_right_image_of_another_group_is_none():
  images, asked = gallery("a", "b"), queries([0], ["b"])
  groups = np.array([0]), np.array([0, 1])
  assert unanswerable_queries(images, asked, groups, excludes_reference=False, allowed=True) == {
    "num_unanswerable_queries": 1
  }


def test_an_evaluation_says_what_it_counted_as_missed(config, tmp_path):
  import dataclasses

  from composeret_jax.training.run import open_run

  run = open_run(config, tmp_path)
  wanted = list(run.dataset.queries.target_labels)
  wanted[0] = "no such"
  lacking = dataclasses.replace(run.dataset, queries=dataclasses.replace(run.dataset.queries, target_labels=wanted))
  with pytest.raises(InputError, match=f"1 of {len(wanted)} queries have no right image"):
    Evaluator(run.model, lacking, run.texts.reader, config)
  config.eval.allow_unanswerable_queries = True
  state = newest_state(run)
  found = Evaluator(run.model, lacking, run.texts.reader, config)(state.variables)
  assert found.metrics["num_unanswerable_queries"] == 1
