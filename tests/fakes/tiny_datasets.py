"""Data sets of a few noise images, laid out as the published ones."""

import json
import pathlib

import numpy as np
from PIL import Image

FASHION200K_CAPTIONS = {
  "train": ["red lace dress", "blue lace dress", "red lace dress", "red silk dress", "red dress", "plain coat"],
  "test": ["black top", "white top", "black top"],
}
FASHION200K_QUERIES = [("test", 0, 1), ("test", 1, 2)]


def write_image(path: pathlib.Path, seed: int) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
  Image.fromarray(pixels).save(path)


def fashion200k_name(split: str, number: int) -> str:
  return f"women/{split}/a_caption/{number}/{number}_0.jpeg"


def make_fashion200k(folder: pathlib.Path) -> pathlib.Path:
  """Captions as FASHION200K_CAPTIONS, each with an image."""
  (folder / "labels").mkdir(parents=True)
  for split, captions in FASHION200K_CAPTIONS.items():
    lines = [f"{fashion200k_name(split, i)}\t0.9\t{caption}\n" for i, caption in enumerate(captions)]
    (folder / "labels" / f"all_{split}_detect_all.txt").write_text("".join(lines))
    for i in range(len(captions)):
      write_image(folder / fashion200k_name(split, i), i)
  lines = [f"{fashion200k_name(split, a)} {fashion200k_name(split, b)}\n" for split, a, b in FASHION200K_QUERIES]
  (folder / "test_queries.txt").write_text("".join(lines))
  return folder


# Names of gallery images by category; "both" is in two of them.
FASHION_IQ_GALLERIES = {
  "dress": ["dress0", "dress1", "dress2", "dress3", "both"],
  "shirt": ["shirt0", "shirt1", "both"],
  "toptee": ["top0", "top1"],
}


def make_fashion_iq(folder: pathlib.Path, *, without: tuple[str, ...] = ()) -> pathlib.Path:
  """Each image modified into the next of its category, and as many training triplets; images `without` are missing."""
  for category, names in FASHION_IQ_GALLERIES.items():
    for split, prefix in (("train", "train_"), ("val", "")):
      split_names = [prefix + name for name in names]
      queries = [
        {"candidate": reference, "target": target, "captions": [f"is more {target}.", "Has longer sleeves"]}
        for reference, target in zip(split_names, split_names[1:], strict=False)
      ]
      _write_json(folder / "captions" / f"cap.{category}.{split}.json", queries)
      _write_json(folder / "image_splits" / f"split.{category}.{split}.json", split_names)
      for i, name in enumerate(split_names):
        if name not in without:
          write_image(folder / "images" / f"{name}.png", i)
  return folder


def _write_json(path: pathlib.Path, content) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


CSS3D = {
  "train": {
    "objects_img": [[{"shape": "cube", "pos": (0.25, 0.75)}]] * 4,
    "mods": [
      {"from": [0], "to": [1], "to_str": "add a red cube"},
      {"from": [0, 1, 2], "to": [2, 3, 0], "to_str": "remove the blue sphere"},
    ],
  },
  "test": {
    "objects_img": [[], [], []],
    "labels": np.array([7, 8, 8]),
    "mods": [{"from": [0, 1], "to": [1, 0], "to_str": "make the sphere large"}],
  },
}


def make_css3d(folder: pathlib.Path) -> pathlib.Path:
  """What CSS3D says, with an image of noise for each scene."""
  folder.mkdir(parents=True, exist_ok=True)
  np.save(folder / "css_toy_dataset_novel2_small.dup.npy", np.array(CSS3D, dtype=object), allow_pickle=True)
  for split, description in CSS3D.items():
    for i in range(len(description["objects_img"])):
      write_image(folder / "images" / f"css_{split}_{i:06d}.png", i)
  return folder


CIRR_SPLITS = {"train": "train", "val": "dev", "test1": "test1"}  # and how their images are called
NUM_CIRR_IMAGES = 60  # a submission needs more than 50


def cirr_names(split: str) -> list[str]:
  """Ten sets of six images."""
  return [f"{CIRR_SPLITS[split]}-{i // 6}-{i % 6}-img0" for i in range(NUM_CIRR_IMAGES)]


def cirr_query(split: str, number: int) -> dict:
  """From the first image of a set to another of the set."""
  members = cirr_names(split)[6 * number : 6 * number + 6]
  query = {"pairid": 100 + number, "reference": members[0], "caption": f"the {split} one, {number} times"}
  if split != "test1":
    query["target_hard"] = members[1 + number % 5]
  elif number == 3:
    query["caption"] = " "  # as the one that is published so
  return query | {"img_set": {"id": number, "members": members}}


def make_cirr(folder: pathlib.Path, *, without: tuple[str, ...] = ()) -> pathlib.Path:
  """A query of each set of each split; images `without` are missing."""
  for split, prefix in CIRR_SPLITS.items():
    names = cirr_names(split)
    paths = {name: f"./{prefix}/{name}.png" for name in names}
    _write_json(folder / "captions" / f"cap.rc2.{split}.json", [cirr_query(split, i) for i in range(len(names) // 6)])
    _write_json(folder / "image_splits" / f"split.rc2.{split}.json", paths)
    for i, name in enumerate(names):
      if name not in without:
        write_image(folder / "img_raw" / paths[name], i)
  return folder


CIRCO_IDS = [3 * i + 7 for i in range(60)]


def circo_query(split: str, number: int) -> dict:
  """From one image to the next three, of which the second is the target."""
  ids = CIRCO_IDS[4 * number : 4 * number + 4]
  query = {"reference_img_id": ids[0], "relative_caption": f"has {number} more", "shared_concept": "a thing"}
  if split == "val":
    query |= {"target_img_id": ids[2], "gt_img_ids": ids[1:], "semantic_aspects": []}
  return query | {"id": number}


def make_circo(folder: pathlib.Path) -> pathlib.Path:
  """Ten queries a split; the files as CIRCO's own folder has them."""
  for split in ("val", "test"):
    _write_json(folder / "annotations" / f"{split}.json", [circo_query(split, i) for i in range(10)])
  coco = folder / "COCO2017_unlabeled"
  images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in CIRCO_IDS]
  _write_json(coco / "annotations/image_info_unlabeled2017.json", {"info": {}, "images": images})
  for i in CIRCO_IDS:
    write_image(coco / "unlabeled2017" / f"{i:012d}.jpg", i)
  return folder


# Reference, text and target by the number of the image; image 9 is in no row.
CATALOGUE_TRIPLETS = [(0, "make it red", 1), (1, "make it long", 2), (3, "make it blue", 4), (5, "make it new", 6)]
CATALOGUE_CAPTIONS = ["red dress", "blue dress", "red dress", "red coat", "blue coat", "plain hat"]


def catalogue_name(number: int) -> str:
  return f"shelf{number % 2}/{number}.png"


def make_catalogue(folder: pathlib.Path, num_images: int = 10) -> pathlib.Path:
  """A folder of images."""
  for i in range(num_images):
    write_image(folder / catalogue_name(i), i)
  return folder


def catalogue_triplets(splits: tuple[str, ...] = ("train", "train", "test", "test")) -> list[dict[str, str]]:
  """The rows of CATALOGUE_TRIPLETS, as files hold them."""
  return [
    {"reference": catalogue_name(a), "text": text, "target": catalogue_name(b), "split": split, "category": "hat"}
    for (a, text, b), split in zip(CATALOGUE_TRIPLETS, splits, strict=True)
  ]
