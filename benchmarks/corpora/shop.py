"""shop: 3D pictures of products (Fluent Emoji, MIT) in ten colours and three patterns, and sentences that change them.

The layout is a catalogue's: images/, triplets.csv to train on, and products.csv with captions and what a shop knows of
its products. Prices and links are invented.
"""

import csv
import hashlib
import io
import pathlib
import random

import numpy as np
from PIL import Image

from benchmarks.corpora.packages import Package, read_files

PACKAGE = Package(
  "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
)
COLOURS = {
  "red": (212, 32, 44),
  "orange": (244, 128, 32),
  "yellow": (248, 204, 40),
  "green": (46, 150, 72),
  "teal": (24, 160, 160),
  "blue": (36, 98, 220),
  "purple": (130, 66, 196),
  "pink": (240, 116, 170),
  "black": (52, 52, 58),
  "white": (236, 236, 240),
}
PATTERNS = {
  "plain": ("plain", "without a pattern"),
  "striped": ("striped", "with stripes"),
  "dotted": ("dotted", "with dots"),
}
# fmt: off
PRODUCTS = {
  "clothes": {
    "dress": "1f457", "t-shirt": "1f455", "blouse": "1f45a", "jeans": "1f456", "shorts": "1fa73", "coat": "1f9e5",
    "kimono": "1f458", "scarf": "1f9e3", "gloves": "1f9e4", "socks": "1f9e6",
  },
  "hats": {"cap": "1f9e2", "top hat": "1f3a9", "sun hat": "1f452", "helmet": "26d1-fe0f"},
  "bags": {"handbag": "1f45c", "purse": "1f45b", "pouch": "1f45d", "backpack": "1f392", "suitcase": "1f9f3"},
  "shoes": {
    "trainer": "1f45f", "shoe": "1f45e", "hiking boot": "1f97e", "boot": "1f462", "flat": "1f97f", "high heel": "1f460",
    "flip-flop": "1fa74",
  },
  "accessories": {
    "glasses": "1f453", "sunglasses": "1f576-fe0f", "watch": "231a", "umbrella": "1f302", "fan": "1faad",
    "headphones": "1f3a7",
  },
  "home": {
    "sofa": "1f6cb-fe0f", "chair": "1fa91", "teapot": "1fad6", "vase": "1f3fa", "bucket": "1faa3", "teddy": "1f9f8",
  },
  "sport": {"scooter": "1f6f4", "skateboard": "1f6f9", "roller skate": "1f6fc", "guitar": "1f3b8", "balloon": "1f388"},
}
# fmt: on
LOOK = ("colour", "pattern", "name")
# What a sentence changes, and how often.
CHANGES = {
  ("colour",): 35,
  ("pattern",): 25,
  ("name",): 15,
  ("colour", "pattern"): 10,
  ("colour", "name"): 10,
  ("colour", "pattern", "name"): 5,
}
NUM_TRIPLETS = 16_000
TEST_SHARE = 0.1  # of the products
PERIOD = 28  # pixels, from one stripe or dot to the next


def write_shop(registry: str, downloads: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes each product in each colour and pattern, 256 pixels square on white, and the two tables."""
  pictures = read_files(PACKAGE.fetch(registry, downloads), "assets/", ".webp")
  products = []
  for category, names in PRODUCTS.items():
    for name, code in names.items():
      picture = centred(Image.open(io.BytesIO(pictures[f"{code}.webp"])).convert("RGBA"))
      for colour in COLOURS:
        for pattern in PATTERNS:
          image = f"{category}/{colour}-{pattern}-{name.replace(' ', '-')}.jpg"
          path = folder / "images" / image
          path.parent.mkdir(parents=True, exist_ok=True)
          dyed(picture, colour, pattern).save(path, "JPEG", quality=90)
          products.append({"image": image, "name": name, "colour": colour, "pattern": pattern, "category": category})
  _write_table(folder / "products.csv", [_described(product) for product in products])
  _write_table(folder / "triplets.csv", triplets(products))


def triplets(products: list[dict]) -> list[dict]:
  """Rows that lead from one product to another by what differs; no product is on both sides of the split."""
  rng = random.Random(0)
  by_look = {tuple(product[field] for field in LOOK): product for product in products}
  choices = {field: sorted({product[field] for product in products}) for field in LOOK}
  rows: list[dict] = []
  while len(rows) < NUM_TRIPLETS:
    reference, changed = rng.choice(products), rng.choices(list(CHANGES), list(CHANGES.values()))[0]
    look = {field: rng.choice(choices[field]) if field in changed else reference[field] for field in LOOK}
    target = by_look[tuple(look.values())]
    splits = {"test" if number_of(product) < TEST_SHARE else "train" for product in (reference, target)}
    if len(splits) == 1 and all(reference[field] != target[field] for field in changed):
      row = {"reference": reference["image"], "text": said(target, changed, rng), "target": target["image"]}
      rows.append(row | {"split": splits.pop()})
  return rows


def said(target: dict, differing: tuple[str, ...], rng: random.Random) -> str:
  """A shopper's words for the target: "in blue", "with stripes", "a red handbag"."""
  if differing == ("colour",):
    return rng.choice(["in {colour}", "{colour}", "make it {colour}"]).format(**target)
  if differing == ("pattern",):
    return rng.choice(PATTERNS[target["pattern"]])
  words = [target[field] for field in differing]
  return f"{rng.choice(['', 'a '])}{' '.join(words)}" if "name" in differing else " and ".join(words)


def number_of(product: dict) -> float:
  """A number of 0 to 1 that stays with the product."""
  return int(hashlib.sha256(product["image"].encode()).hexdigest()[:8], 16) / 2**32


def centred(picture: Image.Image) -> Image.Image:
  """The opaque part, in the middle of a picture of the same size."""
  seen = picture.crop(picture.getbbox())
  middle = Image.new("RGBA", picture.size)
  middle.paste(seen, ((picture.width - seen.width) // 2, (picture.height - seen.height) // 2))
  return middle


def dyed(picture: Image.Image, colour: str, pattern: str) -> Image.Image:
  """The picture on white, its main material in this colour and pattern, with its light and shade."""
  pixels = np.asarray(picture) / 255
  rgb, alpha = pixels[..., :3], pixels[..., 3:]
  material = _material(picture)[..., None]
  light = (rgb @ np.array([0.299, 0.587, 0.114]))[..., None]
  shade = light / np.median(light[(material > 0.5) & (alpha > 0.5)])
  plain = np.array(COLOURS[colour]) / 255
  second = {"white": np.array([0.35, 0.4, 0.5]), "yellow": np.array([0.55, 0.38, 0.1])}.get(colour, np.ones(3))
  base = np.where(_pattern(pattern, len(rgb)), 0.15 * plain + 0.85 * second, plain)
  dark, bright = base * (0.25 + 0.75 * shade), base + (1 - base) * np.clip((shade - 1) * 0.55, 0, 1)
  rgb = np.where(shade <= 1, dark, bright) * material + rgb * (1 - material)
  return Image.fromarray((np.clip(rgb * alpha + 1 - alpha, 0, 1) * 255).astype(np.uint8))


def _material(picture: Image.Image) -> np.ndarray:
  """How much of each pixel is of the hue that most of the picture has, [height, width]; all, of a grey picture."""
  hue, saturation, _ = np.moveaxis(np.asarray(picture.convert("RGB").convert("HSV"), float), -1, 0)
  solid = np.asarray(picture)[..., 3] > 128
  weights = saturation / 255 * solid
  if (weights > 0.25).sum() < 0.15 * solid.sum():
    return np.ones_like(hue)
  counts = np.bincount(hue.astype(int).ravel(), weights.ravel(), 256)
  main = np.convolve(np.tile(counts, 3), np.ones(25), "same")[256:512].argmax()
  distance = np.abs((hue - main + 128) % 256 - 128)
  return np.clip((34 - distance) / 10, 0, 1) * np.clip((saturation / 255 - 0.12) / 0.1, 0, 1)


def _pattern(pattern: str, side: int) -> np.ndarray:
  """The places of the second colour, bool [side, side, 1]."""
  y, x = np.mgrid[:side, :side]
  if pattern == "striped":
    return ((x + y) % PERIOD < 0.42 * PERIOD)[..., None]
  middle = PERIOD / 2
  dots = (x % PERIOD - middle) ** 2 + (y % PERIOD - middle) ** 2 < (0.27 * PERIOD) ** 2
  return (dots & (pattern == "dotted"))[..., None]


def _described(product: dict) -> dict:
  caption = f"{product['colour']} {product['pattern']} {product['name']}".replace(" plain", "")
  facts = {field: product[field] for field in ("category", "colour", "pattern")}
  price, page = 9 + int(90 * number_of(product)), pathlib.Path(product["image"]).stem
  return {"image": product["image"], "caption": caption, **facts, "price": price, "url": f"https://shop.example/{page}"}


def _write_table(path: pathlib.Path, rows: list[dict]) -> None:
  with path.open("w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
