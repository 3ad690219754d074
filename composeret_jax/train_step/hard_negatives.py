"""The images that stand against a batch's targets beside the batch itself."""

import dataclasses

import jax
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HardNegatives:
  """Images that the targets of a batch are easily taken for, on the sphere, and what they and the targets show."""

  features: Float[Array, "batch num dim"]
  labels: Int[Array, "batch num"]
  target_labels: Int[Array, " batch"]
