"""Ways to draw training triplets, one a module; a data set's builder chooses."""

from data_pipelines.samplers.adjectives import AdjectiveSampler
from data_pipelines.samplers.captions import CaptionSampler
from data_pipelines.samplers.listed import ListedSampler
from data_pipelines.samplers.modifications import ModificationSampler
from data_pipelines.samplers.siblings import SiblingSampler

__all__ = ["AdjectiveSampler", "CaptionSampler", "ListedSampler", "ModificationSampler", "SiblingSampler"]
