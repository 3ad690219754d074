import numpy as np
import pytest

from composeret_jax.serving.page.conversation import answer, Change, Conversation, MAX_TURNS, Question, Reference
from composeret_jax.serving.searcher import Query
from data_pipelines.input_error import InputError


def reference(name):
  return Reference(Query(np.zeros(2, np.float32), 1.0, reference_id=name), name, b"")


A, B = reference("a"), reference("b")
RED, BLUE = Change("red"), Change("blue", image_weight=0.5)


def asked(conversation):
  question = conversation.question(k=5)
  return question.start.reference_id, question.changes


def test_a_question_is_the_newest_reference_and_what_was_said_after_it():
  assert Conversation().question(k=5) is None
  assert asked(Conversation((A,))) == ("a", ())
  assert asked(Conversation((A, RED, BLUE))) == ("a", (RED, BLUE))
  assert asked(Conversation((A, RED, B, BLUE))) == ("b", (BLUE,))


def test_any_turn_can_be_taken_back():
  conversation = Conversation((A, RED, B, BLUE))
  assert conversation.without(3).turns == (A, RED, B)
  assert asked(conversation.without(2)) == ("a", (RED, BLUE))
  assert conversation.without(1).turns == (A, B, BLUE)
  assert conversation.without(0).turns == (B, BLUE)
  assert Conversation((A, RED)).without(0).turns == ()


@pytest.mark.parametrize("number", [-1, -5, 2, 10**9])
def test_a_turn_that_is_not_there_cannot_be_taken_back(number):
  with pytest.raises(InputError, match=f"There is no turn {number}; this conversation has 2"):
    Conversation((A, RED)).without(number)


def test_new_weights_are_for_the_last_turn_only():
  assert Conversation((A, RED, BLUE)).with_weights(0.25, -0.5).turns == (A, RED, Change("blue", 0.25, -0.5))
  assert Conversation((A, RED, B)).with_weights(0.25, -0.5).turns == (A, RED, B)
  assert Conversation().with_weights(0.25, -0.5).turns == ()


def test_it_begins_with_a_reference_and_ends_sometime():
  with pytest.raises(InputError, match="Choose or upload a picture first"):
    Conversation().said(RED)
  full = Conversation((A,) * MAX_TURNS)
  with pytest.raises(InputError, match="Take some back"):
    full.said(RED)


def test_answers_of_a_batch_are_those_of_each_alone(searcher):
  talks = [("000", []), ("001", ["red"]), ("002", ["red", "blue"]), ("003", ["striped", "blue", "red"])]
  questions = [Question(searcher.from_id(id), tuple(map(Change, texts)), k) for k, (id, texts) in enumerate(talks, 3)]
  for found, (id, texts), question in zip(answer(searcher, questions), talks, questions, strict=True):
    expected = searcher.search(id, texts, question.k)
    assert [result.id for result in found] == [result.id for result in expected]
    np.testing.assert_allclose([r.score for r in found], [r.score for r in expected], atol=1e-6)
