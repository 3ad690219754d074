"""A lock in a bucket: an object that one process alone can create, and that it renews while it runs.

Who finds it goes by the owner's record in it. On the owner's own machine the system knows whether that process is still
there. Elsewhere the lock is watched: when its owner has not renewed it for PATIENCE_SECONDS by the watcher's clock, the
owner was killed, and the lock is taken over. An owner that finds its lock taken ends at once.
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid

import tensorstore

from composeret_jax.training.workdir.lock_owner import describe, is_running, parse_owner, this_process
from data_pipelines.buckets.addresses import AnyPath, kvstore
from data_pipelines.input_error import InputError

RENEW_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 2.0  # between two looks at another's lock
LOST_EXIT_CODE = 70


class BucketLock:
  """The lock `file`, held by this process until `release`."""

  def __init__(self, file: AnyPath, held: str):
    """Takes the lock; waits up to PATIENCE_SECONDS where its owner may have been killed.

    Raises InputError, beginning with the text `held`, while its owner runs, and with the address and the server's
    reason where nothing can be written there.
    """
    self._where, self._name = str(file), file.name
    self._owner = this_process() | {"token": uuid.uuid4().hex}
    self._num_renewals = 0
    try:
      self._store = tensorstore.KvStore.open(kvstore(file.parent)).result()
      self._generation = self._take(held)
    except ValueError as error:  # of TensorStore, for whatever a server answers
      reason = str(error).partition("\n")[0][:300]
      raise InputError(f"--workdir={file.parent} cannot be written: {reason}") from error
    self._released = threading.Event()
    self._renewing = threading.Thread(target=self._renew, name="renews the workdir's lock", daemon=True)
    self._renewing.start()

  def release(self) -> None:
    """Deletes the lock, if it is still this process'."""
    self._released.set()
    self._renewing.join()
    with contextlib.suppress(ValueError):  # one that cannot be deleted is taken over as a killed process' is
      self._store.write(self._name, None, if_equal=self._generation).result()

  def _take(self, held: str) -> bytes:
    """Writes this process' record over nothing, or over a dead owner's; returns its generation."""
    seen, since, waits = b"", 0.0, False
    while True:
      found = self._store.read(self._name).result()
      owner, generation = parse_owner(found.value), found.stamp.generation
      runs = is_running(owner) if found.state == "value" else False
      is_renewed = waits and runs is None and generation != seen
      if runs or is_renewed:
        raise InputError(f"{held} ({describe(owner)})")
      if generation != seen:
        seen, since = generation, time.monotonic()
      if runs is False or time.monotonic() - since >= PATIENCE_SECONDS:
        if written := self._written(generation):
          return written
        continue  # another process was faster
      if not waits:
        print(
          f"{self._where} is of {describe(owner)}. It is watched for {PATIENCE_SECONDS:.0f} s: if it is not renewed, "
          "that run was killed, and this one goes on.",
          file=sys.stderr,
        )
        waits = True
      time.sleep(LOOK_SECONDS)

  def _written(self, over: bytes) -> bytes:
    """The generation of this process' record, written over the generation `over`; b"" where that is not there."""
    record = json.dumps(self._owner | {"renewals": self._num_renewals})  # a new content each time: S3 goes by it
    return self._store.write(self._name, record.encode(), if_equal=over).result().generation

  def _renew(self) -> None:
    while not self._released.wait(RENEW_SECONDS):
      self._num_renewals += 1
      with contextlib.suppress(ValueError):  # a server that does not answer: nobody else can write there either
        generation = self._written(self._generation)
        if not generation:  # the one that was known last is not there: a write whose answer was lost, or another run
          found = self._store.read(self._name).result()
          if parse_owner(found.value).get("token") != self._owner["token"]:
            _end(f"{self._where}: another run has taken the lock, which this one did not renew in time. This one ends.")
          generation = found.stamp.generation
        self._generation = generation


def _end(message: str) -> None:
  """Ends the process without another write: what it saves now would mix with the other run's."""
  print(message, file=sys.stderr, flush=True)
  os._exit(LOST_EXIT_CODE)
