"""Memory and time of a catalogue in MegaPairs' format: preparing it, and a second start up to its first batch.

python -m benchmarks.megapairs --num_rows=1000000 --output=megapairs.json

Writes as many made-up images of 32 pixels as rows, each row with three texts, a target and five negatives of which the
first is the query's own image; runs the command that prepares it, then a process that opens the run and loads a batch.
A million rows take 15 GB of disk, which are freed at the end. With --folder they stay there, and the next call with it
repeats the second start alone. `--first_batch=FOLDER` is that process.
"""

import json
import pathlib
import resource
import shutil
import sys
import tempfile

from absl import app, flags
import ml_collections
import numpy as np
from PIL import Image
import tqdm

from benchmarks.peak_memory import peak_memory

PIXELS = 32
FILES_IN_A_FOLDER = 1_000
DISTINCT = 256  # pictures, under all the names
SETTINGS = {
  "data.image_size": PIXELS,
  "data.negatives_per_query": 4,
  "data.test_share": 0.0005,
  "loss_reference_as_negative": True,
  "model.image_encoder.width": 8,
  "model.image_encoder.stage_sizes": "(1,1)",
  "model.image_encoder.feature_dim": 32,
  "model.text_encoder.words": "ascii",
  "model.text_encoder.embedding_dim": 16,
  "model.text_encoder.feature_dim": 32,
}


def image_name(number: int) -> str:
  """The path of a made-up image, below the folder of images."""
  return f"{number // FILES_IN_A_FOLDER:04d}/{number:07d}.jpg"


def write_catalogue(folder: pathlib.Path, num_rows: int) -> None:
  """`images/`, and `rows.jsonl` with q_img, q_text, t_img and hns."""
  rng = np.random.default_rng(0)
  pictures = [Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)) for _ in range(DISTINCT)]
  pictures = [picture.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC) for picture in pictures]
  folder.mkdir(parents=True, exist_ok=True)
  for number, picture in enumerate(pictures):
    picture.save(folder / f"{number}.jpg", quality=85)
  encoded = [(folder / f"{number}.jpg").read_bytes() for number in range(DISTINCT)]
  targets, hard = rng.permutation(num_rows), rng.integers(0, num_rows, (num_rows, 4))
  with (folder / "rows.jsonl").open("w") as rows:
    for i in tqdm.trange(num_rows, desc="write", unit=" rows"):
      file = folder / "images" / image_name(i)
      if i % FILES_IN_A_FOLDER == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
      file.write_bytes(encoded[i % DISTINCT])
      row = {
        "q_img": image_name(i),
        "q_text": [
          f"show object {i} beside the first",
          f"the same scene in colour {i}",
          f"as number {i} seen from above",
        ],
        "t_img": image_name(int(targets[i])),
        "hns": [image_name(i), *map(image_name, hard[i].tolist())],
      }
      rows.write(json.dumps(row) + "\n")


def get_config(folder: pathlib.Path) -> ml_collections.ConfigDict:
  """A small model on the catalogue in `folder`, prepared there too."""
  from configs import catalogue

  config = catalogue.get_config("sum")
  config.data.update(dir=str(folder / "images"), triplets=str(folder / "rows.jsonl"))
  config.data.prepared_dir = str(folder / "prepared")
  config.update_from_flattened_dict(SETTINGS | {"model.image_encoder.stage_sizes": (1, 1)})
  return config


def load_first_batch(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The first batch of a new run's training, after all that comes before it but compilation."""
  from composeret_jax.distributed import data_mesh
  from composeret_jax.train_step.parallel import Parallel
  from composeret_jax.training.batches import train_batches
  from composeret_jax.training.run import open_run

  run = open_run(get_config(folder), folder / "run")
  _ = run.checkpoints.description  # what identifies the data
  return dict(next(train_batches(run.data, Parallel("jit", data_mesh(), 1, False), 0, as_rows=False)))


def measure(folder: pathlib.Path, is_prepared: bool) -> dict[str, dict[str, float]]:
  """Peak gigabytes, seconds and processor seconds of both, or of the second start alone."""
  config = get_config(folder)
  prepare = [sys.executable, "launch.py", "--config=configs/catalogue.py:sum", "--mode=prepare"]
  prepare += [f"--config.data.{name}={config.data[name]}" for name in ("dir", "triplets", "prepared_dir")]
  prepare += [f"--config.{name}={value}" for name, value in SETTINGS.items()]
  start = [sys.executable, "-m", "benchmarks.megapairs", f"--first_batch={folder}"]
  commands = {"prepare": prepare, "first batch of a second start": start}
  if is_prepared:
    commands.pop("prepare")
  results = {}
  for name, command in commands.items():
    before = processor_seconds()
    peak, seconds = peak_memory(command)
    spent = processor_seconds() - before
    results[name] = {"peak_gigabytes": peak / 1e9, "seconds": seconds, "processor_seconds": spent}
  return results


def processor_seconds() -> float:
  """The processor time of all processes that were started here and have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def define_flags() -> None:
  """The command line of this script."""
  flags.DEFINE_integer("num_rows", 1_000_000, "Rows, and images.", lower_bound=100)
  flags.DEFINE_string("folder", None, "Folder of the catalogue; a temporary one by default, removed at the end.")
  flags.DEFINE_string("first_batch", None, "Only loads the first batch of the catalogue in this folder.")
  flags.DEFINE_string("output", None, "JSON file to write.")


def main(_) -> None:
  """Prints a line for each part, and writes --output."""
  values = flags.FLAGS
  if values.first_batch:
    load_first_batch(pathlib.Path(values.first_batch))
    return
  folder = pathlib.Path(values.folder or tempfile.mkdtemp())
  try:
    is_prepared = (folder / "prepared").exists()
    if not is_prepared:
      write_catalogue(folder, values.num_rows)
    results = measure(folder, is_prepared)
  finally:
    if not values.folder:
      shutil.rmtree(folder)
  print(f"{values.num_rows:,} rows")
  for name, result in results.items():
    spent = f"{result['seconds']:10.0f} s, {result['processor_seconds']:.0f} of a processor"
    print(f"{name:<32}{result['peak_gigabytes']:8.2f} GB{spent}")
  if values.output:
    pathlib.Path(values.output).write_text(json.dumps({"num_rows": values.num_rows, **results}, indent=2) + "\n")


if __name__ == "__main__":
  define_flags()
  app.run(main)
