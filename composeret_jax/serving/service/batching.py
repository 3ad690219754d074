"""Answers several threads that ask at the same time in one call."""

from collections.abc import Callable, Sequence
import concurrent.futures
import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batching(Generic[Item, Answer]):
  """Calls `function`, from lists to lists, with one item a thread: what arrives while it runs makes the next call.

  So nobody waits for a batch to fill. One call runs at a time, with at most `max_size` items, which may be
  changed at any time. Every thread gets an
  answer or an exception, whatever `function` raises or returns.
  """

  def __init__(self, function: Callable[[Sequence[Item]], Sequence[Answer]], max_size: int = 64):
    self._function = function
    self.max_size = max_size
    self._waiting: list[tuple[Item, concurrent.futures.Future]] = []
    self._changing = threading.Lock()
    self._running = threading.Lock()

  def __call__(self, item: Item) -> Answer:
    """The item's answer; raises what `function` raises for it, never what it raises for another thread's."""
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    with self._changing:
      self._waiting.append((item, future))
    with self._running:
      # This thread runs what is waiting, perhaps without its own item: that one is done then, or its turn is with
      # one of the threads whose items are taken here.
      with self._changing:
        taken, self._waiting = self._waiting[: self.max_size], self._waiting[self.max_size :]
      self._run(taken)
    return future.result()

  def _run(self, taken: Sequence[tuple[Item, concurrent.futures.Future]]) -> None:
    if not taken:
      return
    try:
      answers = list(self._function([item for item, _ in taken]))
      if len(answers) != len(taken):
        raise RuntimeError(f"{len(answers)} answers to {len(taken)} questions")
    except BaseException as error:  # a panic in compiled code is no Exception, and the other threads wait for an answer
      if len(taken) == 1:
        taken[0][1].set_exception(error)
        return
      for one in taken:  # the others get their answers, and the error goes to the thread that it belongs to
        self._run([one])
      return
    for (_, future), answer in zip(taken, answers, strict=True):
      future.set_result(answer)
