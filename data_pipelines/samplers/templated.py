"""Triplets whose texts are put into a template."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.tables import MakeRng, Triplet, TripletSampler
from data_pipelines.texts.templates import CAPTION, TextTemplate


class TemplatedSampler:
  """Draws as `sampler` does; a text is the field CAPTION of the template's first text."""

  def __init__(self, sampler: TripletSampler, template: TextTemplate):
    self.sampler, self.template = sampler, template
    self.num_items, self.triplets_per_item = sampler.num_items, sampler.triplets_per_item

  def sample(self, item: int, make_rng: MakeRng) -> Sequence[Triplet]:
    """The other's triplets with other texts."""
    return self._templated(self.sampler.sample(item, make_rng))

  def siblings(self, rng: np.random.Generator, num: int) -> Sequence[Triplet]:
    """The other's groups with other texts."""
    sampler: Any = self.sampler
    return self._templated(sampler.siblings(rng, num))

  def texts(self) -> Sequence[str]:
    """Every text of the other, in the template."""
    return [self._text(text) for text in self.sampler.texts()]

  def _templated(self, triplets: Sequence[Triplet]) -> list[Triplet]:
    return [triplet._replace(text=self._text(triplet.text)) for triplet in triplets]

  def _text(self, text: str) -> str:
    return self.template.fill({CAPTION: text}, "training texts")[0]
