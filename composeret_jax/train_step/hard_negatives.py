"""The images that stand against a batch's targets beside the batch itself."""

from collections.abc import Mapping, Sequence
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HardNegatives:
  """Images that the targets of a batch are easily taken for, on the sphere, and what they and the targets show.

  `num` may be 0. With `masks_targets` the batch's other targets are no wrong answers either where they show what a
  query's own target does.
  """

  features: Float[Array, "batch num dim"]
  labels: Int[Array, "batch num"]
  target_labels: Int[Array, " batch"]
  masks_targets: bool = dataclasses.field(default=False, metadata={"static": True})


def joined(parts: Sequence[HardNegatives]) -> HardNegatives | None:
  """The images of all parts, which are of the same targets; None where there are no parts."""
  if not parts:
    return None
  features, labels = (jnp.concatenate([getattr(part, name) for part in parts], 1) for name in ("features", "labels"))
  masks_targets = any(part.masks_targets for part in parts)
  return HardNegatives(features, labels, parts[0].target_labels, masks_targets)


def no_negatives(batch: Mapping[str, Array], dim: int) -> HardNegatives:
  """No further images, but what the batch's targets show, so that those that show the same are masked."""
  target_labels = batch["target_label"]
  features = jnp.zeros((len(target_labels), 0, dim))
  return HardNegatives(features, jnp.zeros(features.shape[:2], jnp.int32), target_labels, masks_targets=True)
