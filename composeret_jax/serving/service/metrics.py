"""Counts of requests and seconds, as Prometheus reads them; of all processes where several serve."""

from collections.abc import Callable
import os
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, exposition, Gauge, generate_latest, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client counts in files of this folder, which all processes read


class Metrics:
  """The counts of one app."""

  CONTENT_TYPE = exposition.CONTENT_TYPE_PLAIN_0_0_4

  def __init__(self) -> None:
    self._registry = CollectorRegistry()
    labels = ("method", "route", "status")
    self._requests = Counter("composeret_requests", "Requests answered.", labels, registry=self._registry)
    self._seconds = Histogram(
      "composeret_request_seconds", "Time to answer.", ("route",), buckets=SECONDS, registry=self._registry
    )
    self._images = Gauge(
      "composeret_images", "Images of the index.", registry=self._registry, multiprocess_mode="mostrecent"
    )
    self._together = Gauge(
      "composeret_batch_size",
      "Most searches answered together; grows while programs are compiled.",
      registry=self._registry,
      multiprocess_mode="livemin",
    )

  def answers_together(self, size: int) -> None:
    """Notes how many searches may make a batch."""
    self._together.set(size)

  def count(self, scope: Any, status: int, seconds: float) -> None:
    """Counts a request that was answered."""
    # A route's pattern, not the path: strangers could fill the memory with paths.
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
    self._requests.labels(method, route, str(status)).inc()
    self._seconds.labels(route).observe(seconds)

  def text(self, num_images: int) -> bytes:
    """All counts in Prometheus' text format."""
    self._images.set(num_images)
    registry = self._registry
    if SHARED in os.environ:
      registry = CollectorRegistry()
      MultiProcessCollector(registry)
    return generate_latest(registry)


class Counted:
  """ASGI middleware that counts every request."""

  def __init__(self, app: Callable, metrics: Metrics):
    self._app = app
    self._metrics = metrics

  async def __call__(self, scope, receive, send) -> None:
    """Passes it on."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    start, status = time.perf_counter(), 500

    async def send_noted(message):
      nonlocal status
      if message["type"] == "http.response.start":
        status = message["status"]
      await send(message)

    try:
      await self._app(scope, receive, send_noted)
    finally:
      self._metrics.count(scope, status, time.perf_counter() - start)
