"""An index is searched and filled by the bundle that it was begun with: features of two models do not compare."""

from typing import Any

from composeret_jax.index.protocol import Index
from data_pipelines.input_error import InputError


def check_same_bundle(index: Index, bundle: Any) -> None:
  """Raises InputError when the index holds features of another bundle."""
  if index.fingerprint != bundle.fingerprint:
    raise InputError(
      f"the index holds features of the bundle {index.fingerprint[:12]}, this one is {bundle.fingerprint[:12]}: search "
      "with that bundle, or make a new index"
    )
  if index.feature_dim != bundle.feature_dim:
    raise InputError(
      f"the index holds features of {index.feature_dim:,} numbers, its bundle's have {bundle.feature_dim:,}"
    )
