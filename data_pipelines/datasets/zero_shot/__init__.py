"""Data sets of zero-shot retrieval: what its models are evaluated on, and what they can be trained on."""

from data_pipelines.datasets.alone import CaptionsAlone, ImagesAlone
from data_pipelines.datasets.builder import TableBuilder
from data_pipelines.datasets.zero_shot.coco_objects import CocoObjects
from data_pipelines.datasets.zero_shot.genecis import Genecis
from data_pipelines.datasets.zero_shot.imagenet_domains import ImagenetDomains
from data_pipelines.datasets.zero_shot.lasco import Lasco

ZERO_SHOT: dict[str, type[TableBuilder]] = {
  "captions": CaptionsAlone,
  "coco_objects": CocoObjects,
  "genecis": Genecis,
  "images": ImagesAlone,
  "imagenet_domains": ImagenetDomains,
  "lasco": Lasco,
}
