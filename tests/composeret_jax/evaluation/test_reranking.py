"""Reranking by hand, and in a run."""

import numpy as np
import pytest

from composeret_jax.evaluation.ranking import Answers, NO_ROW, Ranking
from composeret_jax.evaluation.reranking import cosines, rerank
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train


def test_the_first_k_are_ordered_by_the_weighted_sum_and_the_rest_stays():
  ranks = np.array([[7, 3, 5, 9, 1], [2, 4, NO_ROW, NO_ROW, NO_ROW]])
  first = np.array([[0.9, 0.8, 0.5, 0.4, 0.3], [0.4, 0.3, -np.inf, -np.inf, -np.inf]])
  ranking = Ranking.complete(ranks, first, Answers.of(([""] * 10, [[""]] * 2)))
  scores = np.array([[0.9, 0.8, 0.5], [0.4, 0.3, 0.0]])
  similarities = np.array([[0.0, 0.4, 0.8], [0.0, 0.2, 1.0]])
  # 0.9, 1.0, 0.9: the tie keeps 7 before 5; 0.4, 0.4: a tie as well.
  reranked = rerank(ranking, scores, similarities, weight=0.5)
  assert reranked.rows.tolist() == [[3, 7, 5, 9, 1], [2, 4, NO_ROW, NO_ROW, NO_ROW]]
  assert (np.diff(reranked.levels) == 0).tolist() == [[False, True, False, False], [True, False, True, True]]
  reranked = rerank(ranking, scores, similarities, weight=2.0)
  assert reranked.rows.tolist() == [[5, 3, 7, 9, 1], [4, 2, NO_ROW, NO_ROW, NO_ROW]]
  assert rerank(ranking, scores, similarities, weight=0.0).rows.tolist() == ranks.tolist()


def test_cosines_are_of_a_query_with_its_own_rows():
  queries = np.array([[2.0, 0.0], [0.0, 0.0]] * 150, np.float32)  # more than a block
  gallery = np.array([[3.0, 4.0], [0.0, 5.0], [-1.0, 0.0]], np.float32)
  found = cosines(queries, gallery, np.tile([2, 0, 1], (300, 1)))
  np.testing.assert_allclose(found, np.tile([[-1.0, 0.6, 0.0], [0.0, 0.0, 0.0]], (150, 1)), atol=1e-7)


@pytest.mark.slow  # a training
def test_a_run_reports_both_orders_and_can_keep_the_best_by_the_second(config, tmp_path):
  config.eval.rerank, config.best_metric, config.num_train_steps = 3, "rerank/R@1", 1
  train(config, tmp_path)
  run = open_run(config, tmp_path)
  state = newest_state(run)
  features = run.evaluator.features(state.variables)
  evaluation = run.evaluator.count(features)
  ranks = evaluation.ranks
  for query, found in enumerate(ranks):
    first = found[:3]
    texts, read = features.texts[query], features.read_texts[first]
    similarity = read @ texts / np.linalg.norm(read, axis=1) / np.linalg.norm(texts)
    scores = features.gallery[first] @ features.composed[query]
    scores /= np.linalg.norm(features.gallery[0]) * np.linalg.norm(features.composed[0])
    ranks[query, :3] = first[np.argsort(-(scores + 0.5 * similarity))]
  labels, targets = np.asarray(run.dataset.gallery.labels), np.asarray(run.dataset.queries.target_labels)
  hits = labels[ranks] == targets[:, None]
  assert evaluation.metrics["rerank/R@1"] == pytest.approx(hits[:, 0].mean())
  assert evaluation.metrics["rerank/R@5"] == evaluation.metrics["R@5"]
  assert "rerank/adjective/R@10" in evaluation.metrics


def test_the_order_of_one_weighs_nothing(config, tmp_path):
  config.eval.rerank, config.eval.rerank_weight = 10, 0.0
  run = open_run(config, tmp_path)
  metrics = run.evaluator(evaluated_variables(newest_state(run))).metrics
  reranked = {name.removeprefix("rerank/"): value for name, value in metrics.items() if name.startswith("rerank/")}
  assert reranked == {name: metrics[name] for name in reranked}
