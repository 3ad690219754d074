"""Which images of a gallery, and which queries, each process encodes."""

import dataclasses

import jax
from jaxtyping import Float, Int, Num
import numpy as np

from composeret_jax.distributed import gather, largest_share, own_share, share_sizes


@dataclasses.dataclass(frozen=True)
class Shares:
  """Neighbouring images are one process's, and so are the queries that refer to them.

  `order` has all queries by the gallery row of their reference, so that a process's queries are contiguous too;
  `references` are these rows in that order.
  """

  num_images: int
  order: Int[np.ndarray, " num_queries"]
  references: Int[np.ndarray, " num_queries"]

  @classmethod
  def of(cls, num_images: int, references: Int[np.ndarray, " num_queries"]) -> "Shares":
    """The shares of a gallery and of queries that refer to these rows of it."""
    order = np.argsort(references, kind="stable")
    return cls(num_images, order, np.asarray(references)[order])

  def images(self, process: int | None = None) -> range:
    """The gallery rows of a process, by default of this one."""
    return own_share(self.num_images, process)

  def queries(self, images: range) -> range:
    """The places in `order` of the queries that refer to a range of images."""
    return range(*np.searchsorted(self.references, (images.start, images.stop)).tolist())

  def num_batches(self, size: int) -> int:
    """How many batches of `size` images every process encodes; some may have none of their own in the last one."""
    return -(-largest_share(self.num_images) // size)

  def most_queries(self, batch: slice) -> int:
    """The most queries that refer to such a batch of a process's images."""
    return max(len(self.queries(self.images(process)[batch])) for process in range(jax.process_count()))

  def gather_images(self, rows: Float[np.ndarray, "own ..."]) -> Float[np.ndarray, "num_images ..."]:
    """A row for each image, from each process's own."""
    return gather(rows, share_sizes(self.num_images))

  def gather_queries(self, rows: Num[np.ndarray, "own ..."]) -> Num[np.ndarray, "num_queries ..."]:
    """A row for each query, in the queries' own order, from each process's own as they stand in `order`."""
    counts = [len(self.queries(self.images(process))) for process in range(jax.process_count())]
    gathered = gather(rows, counts)
    rows = np.empty_like(gathered)
    rows[self.order] = gathered
    return rows
