"""Recall among siblings, and how often the reference's own label comes first, against counts by hand."""

import numpy as np
import pytest

from composeret_jax.evaluation.protocols import answers_of
from composeret_jax.evaluation.retrieval import rank_gallery
from composeret_jax.evaluation.siblings import REFERENCE_LABEL, SIBLING_RECALL, Siblings
from data_pipelines.datasets.prepare import PROTOCOLS
from data_pipelines.tables import ImageTable, QueryTable


def tables(labels, references, targets):
  gallery = ImageTable([str(i) for i in range(len(labels))], labels, [b""] * len(labels), [""] * len(labels))
  return gallery, QueryTable(np.array(references), ["text"] * len(targets), targets, [""] * len(targets))


def found(labels, references, targets, scores, separator=" "):
  """The metrics of queries that have these inner products with the images."""
  gallery, queries = tables(labels, references, targets)
  vectors, images = np.array(scores, np.float32), np.eye(len(labels), dtype=np.float32)
  answers = answers_of(PROTOCOLS["same_label"], labels, targets, reference_labels=[labels[row] for row in references])
  ranking = rank_gallery(vectors, images, k=len(labels) - 1, exclude=queries.references, answers=answers)
  return Siblings(gallery, queries, separator).metrics(ranking, vectors, images)


LABELS = ["old cat", "new cat", "wet cat", "old cat", "new dog", "new dog"]


def test_other_nouns_are_no_siblings():
  metrics = found(LABELS, [0, 0], ["new cat", "new cat"], [[0, 2, 1, 0, 9, 9], [0, 1, 2, 0, 9, 9]])
  assert metrics == {SIBLING_RECALL: 0.5, REFERENCE_LABEL: 0.0}


def test_the_reference_is_no_sibling_and_another_image_of_its_label_is():
  metrics = found(LABELS, [0, 0], ["new cat", "new cat"], [[9, 2, 1, 0, 0, 0], [9, 1, 0, 2, 0, 0]])
  assert metrics == {SIBLING_RECALL: 0.5, REFERENCE_LABEL: 0.5}


def test_equal_scores_count_by_their_share():
  metrics = found(LABELS, [0], ["new cat"], [[0, 1, 1, 1, 0, 0]])
  assert metrics == {SIBLING_RECALL: pytest.approx(1 / 3), REFERENCE_LABEL: pytest.approx(1 / 3)}


def test_queries_whose_siblings_are_all_right_are_not_counted():
  metrics = found([*LABELS, "old dog"], [6, 0], ["new dog", "new cat"], [[0, 9, 0, 0, 1, 2, 0], [0, 1, 2, 0, 0, 0, 0]])
  assert metrics == {SIBLING_RECALL: 0.0, REFERENCE_LABEL: 0.0}
  assert SIBLING_RECALL not in found(["old dog", "new dog"], [0], ["new dog"], [[0, 1]])


def test_siblings_have_every_word_that_is_kept_and_no_more_words():
  labels = ["arrow left thin", "arrow left bold", "arrow up thin", "arrow left", "arrow left up thin", "fox bold"]
  metrics = found(labels, [0], ["arrow left bold"], [[0, 1, 9, 2, 9, 9]])  # "arrow left" alone is one, and wins
  assert metrics[SIBLING_RECALL] == 0.0
  assert found(labels, [0], ["arrow left bold"], [[0, 2, 9, 1, 9, 9]])[SIBLING_RECALL] == 1.0


def test_words_are_what_the_separator_parts():
  labels = ["red box; blue ball", "red box", "red box; blue cone", "red ball; blue ball"]
  assert found(labels, [1], ["red box; blue ball"], [[2, 0, 1, 9]], "; ")[SIBLING_RECALL] == 1.0
