"""Changes of a configuration that make its step fit, each compiled."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from typing import Any

import ml_collections

from composeret_jax.training.planning.report import Report

Changes = Mapping[str, Any]  # new values by the names of fields


@dataclasses.dataclass(frozen=True)
class Tried:
  """Changes, and what the step needs with them."""

  changes: Changes
  report: Report

  def as_text(self) -> str:
    """One line."""
    flags = " ".join(f"--config.{name}={value}" for name, value in self.changes.items())
    return f"{flags}: {self.report.peak_as_text()}, {'fits' if self.report.fits else 'does not fit'}"


def possible_changes(config: ml_collections.ConfigDict, num_devices: int) -> list[Changes]:
  """Changes that may make the step of a whole configuration smaller, the cheapest in time first."""
  changes: list[Changes] = []
  if config.parallel_state == "replicated" and config.parallel == "jit" and num_devices > 1:
    changes.append({"parallel_state": "split"})
  if config.loss_block_rows == 0:
    changes.append({"loss_block_rows": max(config.batch_size // 16, 1)})
  image, text = config.model.image_encoder, config.model.text_encoder
  trained = {"image": image.name == "tower" and not image.frozen, "text": text.name != "lstm" and text.fine_tune}
  again = [f"model.{half}_encoder.remat" for half, is_trained in trained.items() if is_trained]
  if again and not all(config[field] for field in again):
    changes.append(dict.fromkeys(again, True))
  for pieces in (4, 16):
    if pieces > config.train.num_microbatches and config.batch_size % (num_devices * pieces) == 0:
      changes.append({"train.num_microbatches": pieces})
  return changes


def suggestions(
  config: ml_collections.ConfigDict, num_devices: int, compiled: Callable[[ml_collections.ConfigDict], Report]
) -> Iterator[Tried]:
  """Each change alone and, where none of them makes the step fit, one after the other together, until it fits.

  `compiled` gives the report of a configuration.
  """

  def tried(changes: Changes) -> Tried:
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict(changes)
    return Tried(changes, compiled(changed))

  singles = possible_changes(config, num_devices)
  fits = False
  for changes in singles:
    yield (result := tried(changes))
    fits = fits or result.report.fits
  together: dict[str, Any] = dict(singles[0]) if singles else {}
  for changes in singles[1:]:
    if fits:
      return
    together |= changes
    yield (result := tried(dict(together)))
    fits = result.report.fits
