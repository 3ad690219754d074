import concurrent.futures
import threading

import pytest

from composeret_jax.serving.service.batching import Batching


class Slow:
  """Doubles numbers; its first call waits until it is let go on."""

  def __init__(self):
    self.calls = []
    self.started = threading.Event()
    self.go_on = threading.Event()

  def __call__(self, numbers):
    self.calls.append(list(numbers))
    self.started.set()
    assert self.go_on.wait(10)
    if -1 in numbers:
      raise ValueError("negative")
    return [2 * number for number in numbers]


def ask_while_one_runs(batching, slow, numbers):
  """Futures of the answers to 0, which runs first, and to the numbers, which arrive meanwhile."""
  threads = concurrent.futures.ThreadPoolExecutor(100)
  first = threads.submit(batching, 0)
  assert slow.started.wait(10)
  futures = [threads.submit(batching, number) for number in numbers]
  while len(batching._waiting) < len(numbers):
    threading.Event().wait(0.001)
  slow.go_on.set()
  threads.shutdown()
  assert first.result() == 0
  return futures


def test_what_arrives_during_a_call_is_the_next_call():
  slow = Slow()
  futures = ask_while_one_runs(Batching(slow), slow, range(1, 17))
  assert [future.result() for future in futures] == list(range(2, 34, 2))
  assert [sorted(call) for call in slow.calls] == [[0], list(range(1, 17))]


def test_more_than_the_largest_batch_take_several():
  slow = Slow()
  futures = ask_while_one_runs(Batching(slow, max_size=4), slow, range(1, 12))
  assert [future.result() for future in futures] == list(range(2, 24, 2))
  assert [len(call) for call in slow.calls] == [1, 4, 4, 3]


class Panic(BaseException):
  """What compiled code raises is no Exception."""


@pytest.mark.parametrize("wrong", ["panics", "too few", "too many"])
def test_every_thread_gets_an_answer_or_an_error_whatever_is_raised(wrong):
  started, go_on = threading.Event(), threading.Event()

  def double(numbers):
    started.set()
    assert go_on.wait(10)
    if -1 in numbers:
      if wrong == "panics":
        raise Panic("at the bottom")
      return [0] * (len(numbers) + (1 if wrong == "too many" else -1))
    return [2 * number for number in numbers]

  batching, answers = Batching(double), {}

  def ask(number):
    try:
      answers[number] = batching(number)
    except BaseException as error:
      answers[number] = type(error)

  threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in (0, 1, -1, 2)]
  threads[0].start()
  assert started.wait(10)
  for thread in threads[1:]:
    thread.start()
  while len(batching._waiting) < 3:
    threading.Event().wait(0.001)
  go_on.set()
  for thread in threads:
    thread.join(5)
  assert answers == {0: 0, 1: 2, -1: Panic if wrong == "panics" else RuntimeError, 2: 4}


def test_an_error_is_for_whom_it_belongs_to():
  slow = Slow()
  futures = ask_while_one_runs(Batching(slow), slow, [1, -1, 2])
  assert (futures[0].result(), futures[2].result()) == (2, 4)
  with pytest.raises(ValueError, match="negative"):
    futures[1].result()
