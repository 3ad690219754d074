"""Data sets of zero-shot retrieval with a few noise images, laid out as the published ones."""

import json
import pathlib

from tests.fakes.tiny_datasets import write_image

VISUAL_GENOME_IDS = (2300000, 2300017, 2300034)
COCO_IDS = tuple(range(101, 109))
# Boxes in images of 20 x 20 pixels.
BOXES = ([4, 4, 6, 8], [0, 0, 5, 5], [12, 10, 6, 4], [8, 2, 9, 9])


def instance(number: int) -> dict:
  """One of twelve instances of three images."""
  return {"image_id": VISUAL_GENOME_IDS[number % 3], "instance_bbox": BOXES[number // 3 % 4]}


def genecis_templates(task: str) -> list[dict]:
  """Three queries; of objects with galleries of two images, of attributes of three."""
  make, num = (instance, 3) if task.endswith("_attribute") else (lambda i: {"val_image_id": COCO_IDS[i % 8]}, 2)
  return [
    {
      "reference": make(query),
      "target": make(query + 1),
      "gallery": [make(query + 2 + i) for i in range(num)],
      "condition": f"{task} {query}",
    }
    for query in range(3)
  ]


def make_genecis(folder: pathlib.Path) -> pathlib.Path:
  """All four tasks; Visual Genome's images are in its two parts."""
  for task in ("focus_attribute", "change_attribute", "focus_object", "change_object"):
    _write_json(folder / "genecis" / f"{task}.json", genecis_templates(task))
  for number, image in enumerate(VISUAL_GENOME_IDS):
    write_image(folder / ("VG_100K_2" if number else "VG_100K") / f"{image}.jpg", image)
  for image in COCO_IDS:
    write_image(folder / "val2017" / f"{image:012d}.jpg", image)
  return folder


# Domain, class: of class 5 there is one origami and nothing else.
DOMAIN_TARGETS = [("toy", 2), ("cartoon", 2), ("cartoon", 2), ("origami", 2), ("sculpture", 2), ("origami", 5)]
PHOTOGRAPHS = [2, 2, 5]
DOMAINS = ("cartoon", "origami", "toy", "sculpture")


def make_imagenet_domains(folder: pathlib.Path) -> pathlib.Path:
  """Photographs of two classes, and what the domains have of these; the first photograph is a target, too."""
  lines = {"imgnet_targets.txt": "", "imgnet_real_query.txt": ""}
  for number, (domain, label) in enumerate(DOMAIN_TARGETS):
    name = f"imagenet-r/n{label:08d}/{domain}_{number}.jpg"
    write_image(folder / "imgnet" / name, number)
    lines["imgnet_targets.txt"] += f"imgnet/{name} {1000 * DOMAINS.index(domain) + label} \n"
  for number, label in enumerate(PHOTOGRAPHS):
    name = f"real/n{label:08d}/ILSVRC2012_val_{number:08d}.jpg"
    write_image(folder / "imgnet" / name, 100 + number)
    lines["imgnet_real_query.txt"] += f"imgnet/{name} {label} \n"
    if not number:
      lines["imgnet_targets.txt"] += f"imgnet/{name} {6000 + label} \n"
  for name, content in lines.items():
    (folder / "imgnet" / name).write_text(content)
  return folder


COCO_ROWS = [
  ("000000000139.jpg", "2.5;3.0;14.9;9.25", "dog", "cat;traffic light"),
  ("000000000285.jpg", "0.0;0.0;20.0;20.0", "bear", ""),
  ("000000000632.jpg", "5.0;1.0;9.0;19.0", "chair", "bed"),
]


def make_coco_objects(folder: pathlib.Path) -> pathlib.Path:
  """Three targets, one of which shows nothing but its object."""
  (folder / "coco").mkdir(parents=True)
  lines = [",".join([file, f"{region} ", *classes]) for file, region, *classes in COCO_ROWS]
  (folder / "coco" / "coco_eval.csv").write_text("\n".join(["id,query_regions,query_class,classes", *lines, ""]))
  for number, (file, *_) in enumerate(COCO_ROWS):
    for part in ("val2017", "val2017_masked"):
      write_image(folder / "coco" / part / file, number)
  return folder


def lasco_name(split: str, number: int) -> str:
  """The path that triplets have."""
  return f"{split}2014/COCO_{split}2014_{number:012d}.jpg"


def make_lasco(folder: pathlib.Path) -> pathlib.Path:
  """Four triplets a split, from each image to the next."""
  for split in ("train", "val"):
    for number in range(5):
      write_image(folder / lasco_name(split, number), number)
    triplets = [
      {
        "qid": 1000 * number,
        "query-image": [number, lasco_name(split, number)],
        "query-text": f"The {split} one is riding {number} bikes",
        "target-image": [number + 1, lasco_name(split, number + 1)],
      }
      for number in range(4)
    ]
    _write_json(folder / f"lasco_{split}.json", triplets)
  corpus = [{"id": number, "path": f"val/{lasco_name('val', number)}"} for number in range(5)]
  _write_json(folder / "lasco_val_corpus.json", corpus)
  return folder


def _write_json(path: pathlib.Path, content) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))
