import threading
import time

import pytest

from benchmarks.open_loop import all_at_once, latencies, open_loop


def test_time_counts_from_when_a_request_was_due():
  """One server that takes 50 ms at 40 requests a second falls behind; each waits for all before it."""
  one = threading.Lock()

  def ask(_):
    with one:
      time.sleep(0.05)

  found = open_loop(ask, rate=40, seconds=1)
  assert found["p99 ms"] > 500
  assert found["errors"] == 0
  quick = open_loop(lambda _: time.sleep(0.05), rate=40, seconds=1)
  assert 49 < quick["p50 ms"] < found["p50 ms"]


def test_requests_without_an_answer_are_counted():
  def ask(i):
    if i % 4 == 0:
      raise OSError

  assert open_loop(ask, rate=200, seconds=0.1)["errors"] == 5
  assert all_at_once(ask, 20)["errors"] == 5


def test_percentiles_are_of_those_that_are_answered():
  assert latencies([0.001 * i for i in range(101)] + [None]) == pytest.approx(
    {"p50 ms": 50, "p95 ms": 95, "p99 ms": 99, "errors": 1}
  )
