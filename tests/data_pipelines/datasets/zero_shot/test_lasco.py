import json

import numpy as np
import pytest

from configs import lasco
from data_pipelines.dataset import open_dataset
from data_pipelines.input_error import InputError
from tests.fakes import tiny_zero_shot


def opened(folder, prepared):
  config = lasco.get_config().data
  config.update(dir=str(folder), prepared_dir=str(prepared))
  return open_dataset(config, "modification")


def test_the_corpus_is_the_gallery_and_training_has_the_images_of_its_triplets(tmp_path):
  raw = tiny_zero_shot.make_lasco(tmp_path / "raw")
  triplets = json.loads((raw / "lasco_train.json").read_text())
  (raw / "lasco_train.json").write_text(json.dumps(triplets[:2]))
  dataset = opened(raw, tmp_path)
  assert dataset.gallery.names == [tiny_zero_shot.lasco_name("val", number) for number in range(5)]
  assert dataset.queries.references.tolist() == [0, 1, 2, 3]
  assert dataset.queries.target_labels == dataset.gallery.names[1:]
  assert dataset.queries.texts[2] == "The val one is riding 2 bikes" and dataset.queries.ids[2] == "2000"
  assert dataset.train_images.names == [tiny_zero_shot.lasco_name("train", number) for number in range(3)]
  assert dataset.train_triplets.sample(1, np.random.default_rng)[0][:3] == (1, 2, "The train one is riding 1 bikes")
  assert "published as val" in dataset.title


MISTAKES = {
  "a triplet without a target": ("lasco_val.json", lambda own: own["target-image"].pop(), "query 0: expected qid, "),
  "a blank text": ("lasco_train.json", lambda own: own.update({"query-text": " "}), "query 0: a blank text"),
  "an image of another folder": (
    "lasco_val.json",
    lambda own: own.update({"query-image": [1, "test2014/a.jpg"]}),
    "expected a file in train2014 or val2014",
  ),
  "an image that the corpus lacks": (
    "lasco_val.json",
    lambda own: own.update({"query-image": [1, "val2014/a.jpg"]}),
    "query 0 names 'val2014/a.jpg', which is not in lasco_val_corpus.json",
  ),
  "a corpus without paths": ("lasco_val_corpus.json", lambda own: own.pop("path"), "image 0: expected id and path"),
  "a missing image": (
    "lasco_val_corpus.json",
    lambda own: own.update(path="val2014/b.jpg"),
    "1 images of LaSCo's test split are missing: .*b.jpg",
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_broken_annotations_are_named(tmp_path, mistake):
  raw = tiny_zero_shot.make_lasco(tmp_path / "raw")
  name, change, message = MISTAKES[mistake]
  content = json.loads((raw / name).read_text())
  change(content[0])
  (raw / name).write_text(json.dumps(content))
  with pytest.raises(InputError, match=message):
    opened(raw, tmp_path)
