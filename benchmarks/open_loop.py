"""Load at a fixed rate: requests come when they come, whether earlier ones are answered or not."""

from collections.abc import Callable
import concurrent.futures
import time

import numpy as np

MOST_WAITING = 256  # requests at once; those that come then count as errors


def open_loop(ask: Callable[[int], None], rate: float, seconds: float) -> dict:
  """Milliseconds from when a request was due to its answer, at `rate` requests a second, and how many failed.

  `ask(i)` sends the request `i` and waits for its answer; what it raises is an error. Requests come at random moments,
  as from people who do not know of each other (exponential gaps), the same in each run.
  """
  due = np.cumsum(np.random.default_rng(0).exponential(1 / rate, max(1, round(rate * seconds))))
  with concurrent.futures.ThreadPoolExecutor(MOST_WAITING) as senders:
    start = time.perf_counter()

    def send(i: int) -> float | None:
      try:
        ask(i)
      except Exception:  # whatever went wrong, the request has no answer
        return None
      return time.perf_counter() - start - due[i]

    answers = []
    for i in range(len(due)):
      time.sleep(max(0.0, start + due[i] - time.perf_counter()))
      answers.append(senders.submit(send, i))
    taken = [answer.result() for answer in answers]
  return latencies(taken)


def all_at_once(ask: Callable[[int], None], num: int) -> dict:
  """The same of `num` requests that are sent at one moment."""
  with concurrent.futures.ThreadPoolExecutor(num) as senders:

    def send(i: int) -> float | None:
      start = time.perf_counter()
      try:
        ask(i)
      except Exception:
        return None
      return time.perf_counter() - start

    return latencies(list(senders.map(send, range(num))))


def latencies(seconds: list[float | None]) -> dict:
  """Percentiles in milliseconds of those that are answered, and the number of the others."""
  answered = [one for one in seconds if one is not None]
  low, high, highest = np.percentile(answered, (50, 95, 99)) * 1000 if answered else (np.nan,) * 3
  return {"p50 ms": float(low), "p95 ms": float(high), "p99 ms": float(highest), "errors": len(seconds) - len(answered)}
