"""Queries with the texts that turn them, answered for many people in few batches."""

from collections.abc import Sequence
import dataclasses

from composeret_jax.serving.index.columns import Filters
from composeret_jax.serving.searcher import Query, Result, Searcher


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """A query and the texts that turn it, one after the other, and how strongly the image and the text alone pull
  (`Searcher.refine`). The answer is the `k` best images, none for 0; `exclude` are ids that it leaves out,
  and images that it has pass the `filters`.
  """

  start: Query
  texts: tuple[str, ...] = ()
  image_weight: float = 0.0
  text_weight: float = 0.0
  k: int = 0
  exclude: frozenset[str] = frozenset()
  filters: Filters = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
  """The query that the texts made, and the images closest to it, best first."""

  query: Query
  results: list[Result]


def answer(searcher: Searcher, questions: Sequence[Question]) -> list[Answer]:
  """The answer to each question: one batch for each round of texts, one for the search."""
  queries = [question.start for question in questions]
  for turn in range(max((len(question.texts) for question in questions), default=0)):
    rows = [row for row, question in enumerate(questions) if len(question.texts) > turn]
    refined = searcher.refine_many(
      [queries[row] for row in rows],
      [questions[row].texts[turn] for row in rows],
      [questions[row].image_weight for row in rows],
      [questions[row].text_weight for row in rows],
    )
    for row, query in zip(rows, refined, strict=True):
      queries[row] = query
  results: list[list[Result]] = [[] for _ in questions]
  rows = [row for row, question in enumerate(questions) if question.k]
  wanted = [questions[row] for row in rows]
  ranked = searcher.rank_many(
    [queries[row] for row in rows],
    [question.k for question in wanted],
    [question.exclude for question in wanted],
    [question.filters for question in wanted],
  )
  for row, found in zip(rows, ranked, strict=True):
    results[row] = found
  return [Answer(query, found) for query, found in zip(queries, results, strict=True)]
