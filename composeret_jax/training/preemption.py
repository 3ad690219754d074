"""Ends a run between two steps when it is asked to: by SIGTERM, as schedulers do, or by SIGINT (Ctrl+C)."""

import os
import select
import signal
import sys
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.distributed import data_mesh, fetch, rows_split

EXIT_CODE = 75  # "try again" (EX_TEMPFAIL of sysexits.h): schedulers have to start such a run again
SIGNALS = (signal.SIGTERM, signal.SIGINT)
ONE_REQUEST_SECONDS = 0.1  # `timeout`, for one, sends its signal to the process and once more to its group


class Preemption:
  """Use as a context manager in the main thread, around everything that may be interrupted.

  The first signal is noted: `asked` says so between steps, to all processes of the job at the same step. Before
  `wait_for_steps` there is nothing to save, and the program ends at once with EXIT_CODE. It also does on a second
  signal, and when it is still there `grace_seconds` after the first: also where the main thread is in a call that does
  not come back, such as a sum over processes of which one is dead.
  """

  def __init__(self, grace_seconds: float):
    self._grace_seconds = grace_seconds
    self._signal: int | None = None
    self._steps_go_on = False
    self._before: dict[int, Any] = {}
    self._agreement: jax.Array | None = None

  def __enter__(self) -> "Preemption":
    self._received, self._sent = os.pipe()
    os.set_blocking(self._sent, False)
    self._sent_before = signal.set_wakeup_fd(self._sent, warn_on_full_buffer=False)
    self._before = {number: signal.signal(number, self._take) for number in SIGNALS}
    threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, kind: type[BaseException] | None, *_) -> None:
    if kind is SystemExit:  # the program ends, which may take too long as well
      self._steps_go_on = True
      return
    for number, handler in self._before.items():
      signal.signal(number, handler)
    signal.set_wakeup_fd(self._sent_before)
    os.close(self._sent)

  def wait_for_steps(self) -> None:
    """From here on the run ends between two steps."""
    self._steps_go_on = True

  def asked(self) -> bool:
    """Whether the run is to end after the step that was started last; the same in all processes of the job.

    Where there are several, it is what they knew one step ago: so no device waits for a host.
    """
    if jax.process_count() == 1:
      return self._signal is not None
    known = self._agreement
    own = np.full(jax.local_device_count(), self._signal is not None)
    flags = jax.make_array_from_process_local_data(rows_split(data_mesh()), own)
    self._agreement = jax.jit(jnp.any)(flags)  # does not wait
    return known is not None and bool(fetch(known))

  def stop(self, step: int) -> None:
    """Ends the program, after everything is saved."""
    name = signal.Signals(self._signal).name if self._signal else "a signal to another process"
    print(f"Stopped by {name} after step {step:,}; the same command goes on from there.", file=sys.stderr)
    sys.exit(EXIT_CODE)

  def _take(self, number: int, _) -> None:
    """Runs in the main thread, when the interpreter runs again."""
    self._signal = self._signal or number
    if not self._steps_go_on:
      sys.exit(EXIT_CODE)

  def _watch(self) -> None:
    """In a thread of its own, to which signals come whatever the main thread does."""
    try:
      if self._received_within(None):
        time.sleep(ONE_REQUEST_SECONDS)
        self._received_within(0.0)
        if self._received_within(self._grace_seconds) != b"":
          os._exit(EXIT_CODE)
    finally:
      os.close(self._received)

  def _received_within(self, seconds: float | None) -> bytes | None:
    """The numbers of signals; None when none came in this time, nothing after `__exit__`."""
    while select.select([self._received], [], [], seconds)[0]:
      numbers = os.read(self._received, 1024)
      if not numbers or set(numbers) & set(SIGNALS):
        return numbers
    return None
