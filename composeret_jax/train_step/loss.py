"""What a loss between composed features and targets declares, and how a step calls it."""

from collections.abc import Callable
import dataclasses
import functools

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from composeret_jax.train_step.triplets import sample_triplets

PairLoss = Callable[..., Float[Array, ""]]  # (composed, targets), and `negatives` where the loss takes these


@dataclasses.dataclass(frozen=True)
class Loss:
  """A loss, and what it takes beside composed features [batch, dim] and their targets [batch, dim], both on the sphere.

  Attributes:
    function: (composed, targets, block_rows=..., ...) -> []. `block_rows` above zero bounds how many rows it holds at a
      time, and changes no value. The other keywords are those that the fields below ask for.
    has_bias: takes `bias` [], a number that the model learns.
    draws_triplets: takes `triplets` [num, 3], rows of [composed; targets] that are drawn anew in each step.
    takes_hard_negatives: takes `negatives`, the HardNegatives of the targets, or None.
  """

  function: Callable[..., Float[Array, ""]]
  has_bias: bool = False
  draws_triplets: bool = False
  takes_hard_negatives: bool = False

  def pair_loss(
    self,
    key: PRNGKeyArray,
    batch_size: int,
    *,
    bias: Float[Array, ""] | None = None,
    block_rows: int = 0,
    axis_name: str | None = None,
  ) -> PairLoss:
    """The loss of composed features and targets in one step.

    Args:
      key: draws the triplets.
      batch_size: the global batch's.
      bias: the model's.
      block_rows: how many rows the function holds at a time; 0 for all.
      axis_name: the mapped axis where a device has its own rows alone: the loss then sees all devices'.
    """
    given = {"bias": bias} if self.has_bias else {}
    if self.draws_triplets:
      given["triplets"] = sample_triplets(key, batch_size)
    loss = functools.partial(self.function, block_rows=block_rows, **given)
    if axis_name is None:
      return loss

    def of_all_devices(*features, **negatives):
      features, negatives = jax.lax.all_gather((features, negatives), axis_name, tiled=True)
      return loss(*features, **negatives)

    return of_all_devices
