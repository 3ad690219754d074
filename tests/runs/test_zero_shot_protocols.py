"""Evaluations under the zero-shot protocols, of weights as they come, and on the command line."""

import json

import pytest

from composeret_jax.training.train import train
from configs import coco_objects, genecis, imagenet_domains, lasco
from tests.fakes import tiny, tiny_zero_shot

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
RUNS = {
  "genecis": (genecis, tiny_zero_shot.make_genecis, "lincir", "a photo of $ that {condition}"),
  "imagenet_domains": (imagenet_domains, tiny_zero_shot.make_imagenet_domains, "pic2word", "a {domain} of *"),
  "coco_objects": (
    coco_objects,
    tiny_zero_shot.make_coco_objects,
    "pic2word",
    "a photo of * and {query_class} and {other_classes}",
  ),
  "lasco": (lasco, tiny_zero_shot.make_lasco, "now {caption}", "now {caption}"),
}


@pytest.fixture(scope="module")
def evaluated(request, tmp_path_factory):
  """The name, and what a run of no steps reports."""
  module, make, template, _ = RUNS[request.param]
  folder = tmp_path_factory.mktemp(request.param)
  config, small = module.get_config("sum"), tiny.config(make(folder / "raw"), folder / "prepared")
  config.data.update(dir=small.data.dir, prepared_dir=small.data.prepared_dir, image_size=16, num_workers=0)
  config.model.image_encoder.update(small.model.image_encoder)
  config.model.text_encoder.update(embedding_dim=16, feature_dim=16, words="unicode")
  config.num_train_steps, config.text_template = 0, template
  train(config, folder / "run")
  (line,) = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
  return request.param, line


@pytest.mark.parametrize("evaluated", RUNS, indirect=True)
def test_a_result_names_its_template_and_has_the_protocols_metrics(evaluated):
  name, line = evaluated
  module, _, _, text = RUNS[name]
  assert line["texts"] == text
  assert line[f"eval/{module.get_config().best_metric}"] >= 0
  if name == "genecis":
    assert [key for key in line if key.startswith("eval/focus_object/")] == [
      f"eval/focus_object/R@{k}" for k in (1, 2, 3)
    ]
    recalls = [line[f"eval/{task}/R@2"] for task in TASKS]
    assert line["eval/mean/R@2"] == pytest.approx(sum(recalls) / 4)
    # Galleries of three images: of three found one is right.
    assert line["eval/focus_object/R@3"] == line["eval/image_only/change_object/R@3"] == 1
    assert line["eval/headline"] == line["eval/mean/R@1"]
  if name == "imagenet_domains":
    assert line["eval/num_unanswerable_queries"] == 3  # of class 5 there is one origami alone
    # Seven targets, all of which are among the first ten; class 5 has no cartoon.
    assert line["eval/cartoon/R@10"] == pytest.approx(2 / 3)
    assert line["eval/cartoon/relevant/R@10"] == pytest.approx(2 / 3, abs=1e-5)
    assert line["eval/origami/R@10"] == 1
  if name in ("coco_objects", "lasco"):
    assert line["eval/R@5"] == 1
