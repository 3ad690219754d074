"""Host memory while 100,000 images are prepared and trained on, all processes together.

python -m benchmarks.many_images --num_images=100000 --num_steps=50 --output=many_images.json

Writes made-up photographs as a MIT-States folder, runs launch.py on it with --mode=prepare and then trains, and adds up
the memory of all its processes four times a second (proportional set size: shared pages count once; Linux only).
"""

import json
import pathlib
import sys
import tempfile

from absl import app, flags
import numpy as np
from PIL import Image
import tqdm

from benchmarks.peak_memory import peak_memory

NUM_NOUNS, NUM_ADJECTIVES = 100, 10
TEST_NOUN = "armor"  # one of the data set's own

_NUM_IMAGES = flags.DEFINE_integer("num_images", 100_000, "Images.", lower_bound=NUM_NOUNS * NUM_ADJECTIVES)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 50, "Training steps.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Pixels that are stored and trained on, square.", lower_bound=8)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")


def write_images(folder: pathlib.Path, num_images: int) -> None:
  """Smooth random pictures of 96x72, evenly over nouns and adjectives."""
  rng = np.random.default_rng(0)
  nouns = [TEST_NOUN, *(f"noun{i}" for i in range(1, NUM_NOUNS))]
  for i in tqdm.trange(num_images, desc="write", unit=" images"):
    pair = i % (NUM_NOUNS * NUM_ADJECTIVES)
    directory = folder / "images" / f"adjective{pair % NUM_ADJECTIVES} {nouns[pair // NUM_ADJECTIVES]}"
    directory.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    small.resize((96, 72), Image.Resampling.BICUBIC).save(directory / f"{i}.jpg", quality=85)


def measure(folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """Peak gigabytes and seconds of preparing and of training."""
  steps = _NUM_STEPS.value
  command = [sys.executable, "launch.py", "--config=configs/mit_states.py", f"--config.data.dir={folder / 'raw'}"]
  command += [f"--config.data.prepared_dir={folder / 'prepared'}", f"--config.data.image_size={_IMAGE_SIZE.value}"]
  command += [f"--config.num_train_steps={steps}", f"--config.checkpoint_every_steps={steps}"]
  results = {}
  for name, options in {"prepare": ["--mode=prepare"], "train": [f"--workdir={folder / 'run'}"]}.items():
    peak, seconds = peak_memory([*command, *options])
    results[name] = {"peak_gigabytes": peak / 1e9, "seconds": seconds}
  return results


def main(_) -> None:
  """Prints a line for each part, and writes --output."""
  with tempfile.TemporaryDirectory() as folder:
    write_images(pathlib.Path(folder) / "raw", _NUM_IMAGES.value)
    results = measure(pathlib.Path(folder))
  print(f"{_NUM_IMAGES.value:,} images, {_NUM_STEPS.value} steps")
  for name, result in results.items():
    print(f"{name:<10}{result['peak_gigabytes']:8.2f} GB{result['seconds']:10.0f} s")
  if _OUTPUT.value:
    pathlib.Path(_OUTPUT.value).write_text(json.dumps({"num_images": _NUM_IMAGES.value, **results}, indent=2) + "\n")


if __name__ == "__main__":
  app.run(main)
