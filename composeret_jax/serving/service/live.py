"""The searcher that answers now: its index can be replaced while searches go on."""

from composeret_jax.serving.searcher import Searcher


class Live:
  """Holds the searcher of the newest generation of the index. A search uses the one that it began with to its end."""

  def __init__(self, searcher: Searcher):
    self.searcher = searcher

  @property
  def generation(self) -> int:
    """A number that grows whenever the index was written."""
    return getattr(self.searcher.index, "generation", 0)
