import concurrent.futures
import threading

import pytest

from composeret_jax.serving.page.batching import Batching


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


def test_an_error_is_for_whom_it_belongs_to():
  slow = Slow()
  futures = ask_while_one_runs(Batching(slow), slow, [1, -1, 2])
  assert (futures[0].result(), futures[2].result()) == (2, 4)
  with pytest.raises(ValueError, match="negative"):
    futures[1].result()
