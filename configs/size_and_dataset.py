"""The argument of configurations that take towers of a size and a data set: "large,cirr"."""

from collections.abc import Collection

from configs import (
  catalogue,
  circo,
  cirr,
  coco_objects,
  fashion_iq,
  genecis,
  imagenet_domains,
  lasco,
  mit_states,
)

DATASETS = {
  "circo": circo,
  "fashion_iq": fashion_iq,
  "cirr": cirr,
  "genecis": genecis,
  "imagenet_domains": imagenet_domains,
  "coco_objects": coco_objects,
  "lasco": lasco,
  "mit_states": mit_states,
  "catalogue": catalogue,
}


def parse(argument: str, sizes: Collection[str], *others: str) -> tuple[str, str]:
  """Its size, and its data set: one of DATASETS or of `others`; raises ValueError, with what there is, for others."""
  size, _, dataset = argument.partition(",")
  if size not in sizes or dataset not in (*others, *DATASETS):
    expected = f"{' or '.join(sizes)}, a comma, and one of {', '.join((*others, *DATASETS))}"
    raise ValueError(f"no configuration is called {argument!r}; expected {expected}")
  return size, dataset
