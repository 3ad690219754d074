"""The images that stand against a batch's targets beside the batch itself."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HardNegatives:
  """Images that the targets of a batch are easily taken for, on the sphere, and what they and the targets show."""

  features: Float[Array, "batch num dim"]
  labels: Int[Array, "batch num"]
  target_labels: Int[Array, " batch"]

  def logits(self, queries: Float[Array, "rows dim"], rows: Int[Array, " rows"]) -> Float[Array, "rows batch_num"]:
    """Of all negatives for some of the batch's queries; -inf where one shows what the query's own target does."""
    is_right = self.labels.ravel() == self.target_labels[rows][:, None]
    return jnp.where(is_right, -jnp.inf, queries @ self.features.reshape(-1, queries.shape[1]).T)
