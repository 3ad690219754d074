"""The interface of a loss between composed features and targets, and how a step calls it."""

from collections.abc import Callable
import dataclasses

from jaxtyping import Array, Float, PRNGKeyArray

from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.shard import WHOLE_BATCH
from composeret_jax.train_step.triplets import sample_triplets

PairLoss = Callable[..., Float[Array, ""]]  # (composed, targets), and `negatives` where the loss takes these


@dataclasses.dataclass(frozen=True)
class Loss:
  """A loss, and what it takes beside composed features [rows, dim] and their targets [rows, dim].

  Attributes:
    function: (composed, targets, block_rows=..., shard=..., ...) -> [], the mean over the rows that it is given: a
      device's own rows of the batch. By `shard` (shard.py) it sees the other devices' rows. `block_rows` above zero
      bounds how many rows it holds at a time, and changes no value. The other keywords are those that the fields below
      ask for.
    has_bias: takes `bias` [], a number that the model learns.
    draws_triplets: takes `triplets` [num, 3], rows of [composed; targets] of the whole batch that are drawn anew in
      each step, for the own rows.
    takes_hard_negatives: takes `negatives`, the HardNegatives of the targets, or None.
    on_sphere: takes features on the sphere of the model's radius; otherwise raw ones.
  """

  function: Callable[..., Float[Array, ""]]
  has_bias: bool = False
  draws_triplets: bool = False
  takes_hard_negatives: bool = False
  on_sphere: bool = True

  def pair_loss(
    self,
    key: PRNGKeyArray,
    batch_size: int,
    parallel: Parallel | None = None,
    *,
    bias: Float[Array, ""] | None = None,
    block_rows: int = 0,
  ) -> PairLoss:
    """The loss of composed features and targets in one step, over the batch of all devices.

    Args:
      key: draws the triplets.
      batch_size: the global batch's.
      parallel: how the rows are split over devices; None for one device that has them all.
      bias: the model's.
      block_rows: how many rows a device holds at a time; 0 for all.
    """
    shard = parallel.shard if parallel else WHOLE_BATCH

    def of_own_rows(rows, whole):
      composed, targets, negatives = rows
      given = {"bias": whole["bias"]} if self.has_bias else {}
      if self.draws_triplets:
        given["triplets"] = sample_triplets(whole["key"], batch_size, shard.row_numbers(len(composed)))
      if negatives is not None:
        given["negatives"] = negatives
      return shard.mean(self.function(composed, targets, block_rows=block_rows, shard=shard, **given))

    of_all_rows = parallel.on_own_rows(of_own_rows) if parallel else of_own_rows
    return lambda composed, targets, negatives=None: of_all_rows(
      (composed, targets, negatives), {"bias": bias, "key": key}
    )
