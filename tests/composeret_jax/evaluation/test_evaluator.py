"""An evaluation's three rankings, of the composed queries and of their halves, made in one."""

import numpy as np
import pytest

from composeret_jax.evaluation import evaluator, retrieval
from composeret_jax.evaluation.ranking import Answers
from composeret_jax.evaluation.retrieval import rank_gallery
from composeret_jax.models.variables import variables_of
from composeret_jax.training.run import open_run


def test_the_gallery_is_ranked_once_for_all_of_them(config, tmp_path, monkeypatch):
  run = open_run(config, tmp_path / "run")
  galleries = []

  def counted(queries, gallery, **options):
    galleries.append((len(queries), gallery))
    return rank_gallery(queries, gallery, **options)

  monkeypatch.setattr(evaluator, "rank_gallery", counted)
  features = run.evaluator.features(variables_of(run.model))
  found = run.evaluator.count(features)
  ((num_ranked, gallery),) = galleries
  assert num_ranked == 3 * len(run.dataset.queries)
  assert gallery is features.gallery
  np.testing.assert_array_equal(found.ranks, run.evaluator.rank(features).gallery.rows)


def test_a_batchs_size_changes_no_metric(config, tmp_path):
  metrics = []
  for size in (1, 5, 128):
    config.eval.batch_size = size
    run = open_run(config, tmp_path / "run")
    metrics.append(run.evaluator(variables_of(run.model)).metrics)
  assert metrics[1:] == [pytest.approx(metrics[0])] * 2


@pytest.mark.parametrize("stream", [retrieval.stream_on_cpu, retrieval._stream])
def test_rankings_of_several_sets_of_queries_are_those_of_each(stream, monkeypatch):
  monkeypatch.setattr(retrieval, "stream_on_cpu", stream)
  rng = np.random.default_rng(0)
  sets, gallery = rng.integers(-2, 3, (2, 9, 3)).astype(np.float32), rng.integers(-2, 3, (40, 3)).astype(np.float32)
  labels, wanted = rng.choice(list("abc"), 40).tolist(), [[label] for label in rng.choice(list("abc"), 9)]
  options = {"exclude": rng.integers(0, 40, 9), "query_groups": rng.integers(0, 2, 9)}
  shared = {"k": 6, "gallery_groups": np.sort(rng.integers(0, 2, 40)), "query_block": 4, "gallery_block": 16}
  together = {name: np.tile(array, 2) for name, array in options.items()}
  both = rank_gallery(np.concatenate(sets), gallery, **together, **shared, answers=Answers.of((labels, wanted * 2)))
  for own, queries in zip(both.split(2), sets, strict=True):
    alone = rank_gallery(queries, gallery, **options, **shared, answers=Answers.of((labels, wanted)))
    for field in ("rows", "levels", "tied_after"):
      np.testing.assert_array_equal(getattr(own, field), getattr(alone, field))
    np.testing.assert_array_equal(own.answers.wanted, alone.answers.wanted)
