"""What a person has shown and said so far, and what it asks for."""

from collections.abc import Sequence
import dataclasses

from composeret_jax.serving.searcher import Query, Result, Searcher
from data_pipelines.input_error import InputError

MAX_TURNS = 30


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
  """A turn: an image that was shown. `start` is a query that no text has turned, `thumbnail` a JPEG."""

  start: Query
  name: str
  thumbnail: bytes


@dataclasses.dataclass(frozen=True)
class Change:
  """A turn: what should differ, and how strongly the image and the text alone pull (`Searcher.refine`)."""

  text: str
  image_weight: float = 0.0
  text_weight: float = 0.0


Turn = Reference | Change


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """A query and the changes that turn it, one after the other; `k` images are the answer."""

  start: Query
  changes: tuple[Change, ...]
  k: int


@dataclasses.dataclass(frozen=True, eq=False)
class Conversation:
  """Turns in their order: each reference begins anew, each change turns what the one before it has made."""

  turns: tuple[Turn, ...] = ()

  def said(self, *turns: Turn) -> "Conversation":
    """With these turns at its end; raises InputError for a change of nothing, and beyond MAX_TURNS."""
    both = (*self.turns, *turns)
    if both and not isinstance(both[0], Reference):
      raise InputError("Choose or upload a picture first: the text says what should differ from it.")
    if len(both) > MAX_TURNS:
      raise InputError(f"This conversation has {MAX_TURNS} turns. Take some back, or start over.")
    return Conversation(both)

  def without(self, number: int) -> "Conversation":
    """Without one of its turns. Changes apply to what is before them then; where there is nothing, they go as well.

    Raises InputError when there is no turn of this number, counted from 0.
    """
    if not 0 <= number < len(self.turns):
      raise InputError(f"There is no turn {number}; this conversation has {len(self.turns)}.")
    left = self.turns[:number] + self.turns[number + 1 :]
    while left and not isinstance(left[0], Reference):
      left = left[1:]
    return Conversation(left)

  def with_weights(self, image_weight: float, text_weight: float) -> "Conversation":
    """With these weights in its last turn, where that is a change."""
    if not self.turns or not isinstance(self.turns[-1], Change):
      return self
    return Conversation((*self.turns[:-1], Change(self.turns[-1].text, image_weight, text_weight)))

  def texts(self) -> list[str]:
    """What has been said since the newest reference."""
    question = self.question(1)
    return [change.text for change in question.changes] if question else []

  def question(self, k: int) -> Question | None:
    """What the newest reference and the changes after it ask for; None before anything is said."""
    start: Query | None = None
    changes: tuple[Change, ...] = ()
    for turn in self.turns:
      if isinstance(turn, Reference):
        start, changes = turn.start, ()
      else:
        changes = (*changes, turn)
    return None if start is None else Question(start, changes, k)


def answer(searcher: Searcher, questions: Sequence[Question]) -> list[list[Result]]:
  """The images that each question asks for, best first: one batch for each round of changes, one for the search."""
  queries = [question.start for question in questions]
  for turn in range(max((len(question.changes) for question in questions), default=0)):
    rows = [row for row, question in enumerate(questions) if len(question.changes) > turn]
    changes = [questions[row].changes[turn] for row in rows]
    refined = searcher.refine_many(
      [queries[row] for row in rows],
      [change.text for change in changes],
      [change.image_weight for change in changes],
      [change.text_weight for change in changes],
    )
    for row, query in zip(rows, refined, strict=True):
      queries[row] = query
  found = searcher.rank(queries, max((question.k for question in questions), default=1))
  return [results[: question.k] for results, question in zip(found, questions, strict=True)]
