"""Measures how well a CLIP from the Hugging Face hub retrieves in a folder of images, without any training.

python examples/zero_shot_clip.py --images=FOLDER --queries=queries.csv --clip=openai/clip-vit-base-patch32

queries.csv has the columns reference, text, target: two images by their paths from the folder, and the sentence between
them. The query is the image feature plus the text feature, each of length 1. --clip is a repository or a local folder.
"""

from absl import app, flags
import ml_collections
from PIL import Image

import composeret_jax
from composeret_jax.pretrained.towers.preprocessing import read_preprocessing
from composeret_jax.pretrained.towers.tower_folder import open_image_folder

_IMAGES = flags.DEFINE_string("images", None, "Folder of images.", required=True)
_QUERIES = flags.DEFINE_string("queries", None, "CSV with the columns reference, text, target.", required=True)
_CLIP = flags.DEFINE_string("clip", "openai/clip-vit-base-patch32", "Repository of the hub, or a folder.")
_PICTURE = flags.DEFINE_string("picture", "zero_shot.png", "Picture of results.")
_PREPARED = flags.DEFINE_string("prepared_dir", "", "Where the prepared images are kept; by default the user's cache.")


def get_config(images: str, queries: str, clip: str, prepared_dir: str) -> ml_collections.ConfigDict:
  """The catalogue's configuration with both towers of the CLIP, frozen, and pixels as its folder says."""
  config = composeret_jax.load_config("catalogue:zero_shot")
  config.data.update(dir=images, triplets=queries, prepared_dir=prepared_dir)
  config.data.test_share = 1.0  # every row is a test query
  config.model.image_encoder.update(name="tower", pretrained=clip, frozen=True, feature_dim=0)
  config.model.text_encoder.update(name="tower", path=clip)
  folder = open_image_folder(clip)
  pixels = read_preprocessing(folder.path, folder.kind)
  config.data.image_size = pixels.image_size
  config.data.update(pixels.resizing._asdict())
  config.num_train_steps = 0
  return config


def main(_) -> None:
  """Prints the recalls of the queries, of their images alone and of their texts alone, and draws some results."""
  data = composeret_jax.open_data(get_config(_IMAGES.value, _QUERIES.value, _CLIP.value, _PREPARED.value))
  model = composeret_jax.build_model(data)
  evaluation = composeret_jax.evaluate(data, model, composeret_jax.first_state(data, model))
  for name, value in evaluation.metrics.items():
    if "R@" in name:
      print(f"{name:<20} {100 * value:6.1f}")
  Image.fromarray(composeret_jax.results_picture(data, evaluation)).save(_PICTURE.value)
  print(f"Picture: {_PICTURE.value}")


if __name__ == "__main__":
  app.run(main)
