"""The picture of results: the right image and its rank where the model missed it."""

import numpy as np
import pytest

from composeret_jax.evaluation import report
from data_pipelines.dataset import open_dataset


@pytest.fixture
def dataset(config):
  return open_dataset(config.data, config.text_query)


def drawn(dataset, ranks, monkeypatch):
  """Texts and gallery rows of a picture with one query, in the order that they are drawn; and its width."""
  texts, rows = [], []
  pen, load = report.ImageDraw.ImageDraw, report.load_pixels
  for name in ("text", "multiline_text"):
    draw = getattr(pen, name)
    monkeypatch.setattr(
      pen, name, lambda self, xy, text, *a, draw=draw, **k: texts.append(text) or draw(self, xy, text, *a, **k)
    )
  monkeypatch.setattr(report, "load_pixels", lambda images, row, size: rows.append(row) or load(images, row, size))
  picture = report.results_picture(dataset, ranks, num_rows=1)
  return texts, rows, picture.shape[1]


def ranks_with_right_at(dataset, place):
  """Ranks of the first query: wrong images, and a right one at a place from 0 unless it is None."""
  target, reference = dataset.queries.target_labels[0], int(dataset.queries.references[0])
  right = [row for row, label in enumerate(dataset.gallery.labels) if label == target]
  wrong = [row for row in range(len(dataset.gallery)) if row not in right and row != reference]
  if place is not None:
    wrong.insert(place, right[0])
  return np.array([wrong]), right[0]


def test_a_right_image_that_was_missed_is_shown_with_its_rank(dataset, monkeypatch):
  ranks, right = ranks_with_right_at(dataset, 6)
  texts, rows, _ = drawn(dataset, ranks, monkeypatch)
  assert "rank 7" in texts and rows == [int(dataset.queries.references[0]), *ranks[0, :5], right]


def test_one_beyond_the_ranked_images_too(dataset, monkeypatch):
  ranks, right = ranks_with_right_at(dataset, None)
  texts, rows, _ = drawn(dataset, ranks, monkeypatch)
  assert f"rank above\n{ranks.shape[1]}" in texts and rows[-1] == right


def test_nothing_is_added_where_the_model_found_it(dataset, monkeypatch):
  ranks, _ = ranks_with_right_at(dataset, 4)
  texts, rows, width = drawn(dataset, ranks, monkeypatch)
  monkeypatch.undo()
  assert width < report.results_picture(dataset, ranks_with_right_at(dataset, 5)[0]).shape[1]
  assert not [text for text in texts if "rank" in text] and len(rows) == 6
