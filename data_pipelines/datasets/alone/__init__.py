"""Images alone, and captions alone: what textual inversion is trained on."""

from data_pipelines.datasets.alone.captions import CaptionsAlone
from data_pipelines.datasets.alone.images import ImagesAlone

__all__ = ["CaptionsAlone", "ImagesAlone"]
