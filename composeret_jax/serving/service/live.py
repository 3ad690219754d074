"""The searcher that answers now: it takes up a new generation of its index while searches go on."""

import asyncio
import logging

from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.warm_up import prepare

LOOK_SECONDS = 1.0


class Live:
  """Holds the searcher of the newest generation of the index. A search uses the one that it began with to its end."""

  def __init__(self, searcher: Searcher):
    self.searcher = searcher
    self._refused = ""  # why the newest generation could not be taken up

  def refresh(self) -> None:
    """Takes up what the index is now, once it can answer at once; where it cannot be used, says so and stays."""
    try:
      index = self.searcher.index.newest()
      if index is not self.searcher.index:
        newer = Searcher(self.searcher.bundle, index)
        prepare(newer)
        self.searcher, self._refused = newer, ""
    except Exception as error:  # a disk that is away for a moment, too: the next look may find it
      if str(error) != self._refused:
        logging.getLogger(__name__).warning("the index from before stays: %s", error)
      self._refused = str(error)

  @property
  def generation(self) -> int:
    """A number that grows whenever the index was written."""
    return self.searcher.index.generation

  async def keep_fresh(self) -> None:
    """Refreshes now and then, for ever."""
    while True:
      await asyncio.sleep(LOOK_SECONDS)
      await asyncio.to_thread(self.refresh)
