"""What is said of configurations that cannot be; nothing of them ends in a traceback."""

import importlib
import string

from hypothesis import assume, given, settings, strategies
import jax
import jax.numpy as jnp
import ml_collections
import pytest

from composeret_jax.export.bundle import export
from composeret_jax.export.gallery_images import gallery_images
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.optimizers import build_optimizer, DECAYS, OPTIMIZERS
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.config.check import check_config
from composeret_jax.training.config.fields import RULES
from composeret_jax.training.import_original import import_checkpoint
from composeret_jax.training.model import build_model
from composeret_jax.training.train import evaluate, train
from configs import fashion_iq, mit_states, models, shapes
from data_pipelines.input_error import InputError

DATA_SETS = ("catalogue", "circo", "cirr", "css3d", "fashion200k", "fashion_iq", "mit_states", "shapes")
FIELDS = sorted(RULES)


def mistakes(config, num_devices=1):
  try:
    check_config(config, num_devices)
  except InputError as error:
    return str(error).splitlines()
  return []


@pytest.mark.parametrize("model", sorted(models.MODELS))
@pytest.mark.parametrize("name", DATA_SETS)
def test_every_configuration_that_comes_with_the_project_passes(name, model):
  assert not mistakes(importlib.import_module(f"configs.{name}").get_config(model))


def test_all_mistakes_are_named_at_once(config):
  config.data.image_size = 0
  config.loss = "triplet"
  config.batch_size = 9
  config.profile_steps = "15:10"
  expected = {
    "config.loss is 'triplet', expected one of batch_based_classification, info_nce, mean_squared_error, "
    "sigmoid, soft_triplet (did you mean 'soft_triplet'?)",
    "config.data.image_size is 0, expected at least 1",
    "config.profile_steps is '15:10', expected FIRST:STOP, as 10:15 for steps 10 to 14",
    "config.batch_size is 9, expected a multiple of the 2 devices",
  }
  found = mistakes(config, num_devices=2)
  assert set(found) == expected and len(found) == len(expected)


BAD = [
  ("batch_size", "32", "config.batch_size is '32', expected a whole number"),
  ("batch_size", True, "config.batch_size is True, expected a whole number"),
  ("batch_size", 2.0, "config.batch_size is 2.0, expected a whole number"),
  ("batch_size", 10**400, "config.batch_size is 1000000"),
  ("num_train_steps", 2**31, "config.num_train_steps is 2147483648, expected at most 2,147,483,647"),
  ("seed", -1, "config.seed is -1, expected at least 0"),
  ("learning_rate", "fast", "config.learning_rate is 'fast', expected a number"),
  ("learning_rate", float("nan"), "config.learning_rate is nan, expected a finite number"),
  ("learning_rate", -0.1, "config.learning_rate is -0.1, expected at least 0"),
  ("max_gradient_norm", float("inf"), "config.max_gradient_norm is inf, expected a finite number"),
  ("max_gradient_norm", -1.0, "config.max_gradient_norm is -1.0, expected at least 0"),
  ("ema_decay", 1.0, "config.ema_decay is 1.0, expected at least 0 and below 1"),
  ("decay_factor", 0.0, "config.decay_factor is 0.0, expected above 0"),
  ("data.device_memory_share", 1.5, "config.data.device_memory_share is 1.5, expected above 0 and at most 1"),
  ("data.dir", 5, "config.data.dir is 5, expected a string"),
  ("data.dir", "a\0b", "config.data.dir is 'a\\x00b', expected a string without a zero byte"),
  ("augment.flip", 1, "config.augment.flip is 1, expected True or False"),
  ("optimizer", "adam", "config.optimizer is 'adam', expected one of sgd, adamw, lars, lamb (did you mean 'adamw'?)"),
  ("optimizer", None, "config.optimizer is None, expected one of sgd, adamw, lars, lamb"),
  ("learning_rate_scaling", "root", "config.learning_rate_scaling is 'root', expected one of none, linear, "),
  ("data.dataset", "mitstates", "config.data.dataset is 'mitstates', expected one of "),
  ("train.on_nonfinite", "ignore", "config.train.on_nonfinite is 'ignore', expected one of stop, skip"),
  ("model.image_encoder.stage_sizes", (), "config.model.image_encoder.stage_sizes is (), expected a tuple of one "),
  ("model.image_encoder.stage_sizes", (2, 0), "config.model.image_encoder.stage_sizes is (2, 0), expected of each "),
  ("num_warmup_steps", 8, "config.num_warmup_steps is 8, expected less than the 8 steps"),
  ("train.num_microbatches", 3, "config.batch_size is 8, expected a multiple of 1 devices x config.train.num_micro"),
  ("train.steps_per_call", 3, "config.num_train_steps is 8, expected a multiple of config.train.steps_per_call = 3"),
  ("model.text_encoder.name", "bert", "config.model.text_encoder.path is '', expected BERT's folder or hub repository"),
  (
    "model.loss_weights.rotational_symmetry",
    -1.0,
    "config.model.loss_weights.rotational_symmetry is -1.0, expected ",
  ),
  ("hard_negatives.every_steps", 5, "config.data.placement is 'stream', expected device with config.hard_negatives."),
  ("hard_negatives.num", 0, "config.hard_negatives.num is 0, expected at least 1"),
  ("eval.rerank", 101, "config.eval.rerank is 101, expected at most 100, which mit_states looks at"),
  ("best_metric", "rerank/R@1", "config.best_metric is 'rerank/R@1', expected one of R@1, "),
  ("model.image_encoder.frozen", True, "config.model.image_encoder.pretrained is '', expected weights with"),
  ("protocol", "fashion_iq", "config.protocol is 'fashion_iq', expected another for mit_states: it is fashion_iq's"),
  ("best_metric", "R@2", "config.best_metric is 'R@2', expected one of R@1, R@5, R@10, "),
  ("best_metric", "recall", "config.best_metric is 'recall', expected one of R@1, "),
]


@pytest.mark.parametrize("field, value, message", BAD)
def test_one_mistake_is_one_line(config, field, value, message):
  with config.unlocked(), config.ignore_type():
    config.update_from_flattened_dict({field: value})
  found = mistakes(config)
  assert any(line.startswith(message) for line in found), found
  assert all(len(line) < 400 for line in found)


def test_a_batch_of_one_has_no_negatives(config):
  config.loss, config.batch_size = "soft_triplet", 1
  assert mistakes(config) == ["config.batch_size is 1, expected at least 2: soft_triplet needs negatives"]


def test_what_hard_negatives_forbid(config):
  config.hard_negatives.every_steps, config.data.placement = 5, "device"
  assert not mistakes(config)
  config.train.steps_per_call = 4
  config.num_train_steps = config.log_every_steps = config.eval_every_steps = config.checkpoint_every_steps = 8
  assert mistakes(config) == [
    "config.hard_negatives.every_steps is 5, expected a multiple of config.train.steps_per_call = 4",
  ]


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.takes_hard_negatives])
def test_every_loss_takes_negatives(config, loss):
  config.hard_negatives.every_steps, config.data.placement = 5, "device"
  config.loss, config.loss_reference_as_negative, config.loss_label_mask = loss, True, True
  assert not mistakes(config)


def test_magic_lens_heads_have_equal_parts_of_the_image(config):
  config.model.composer = "magic_lens"
  config.model.composer_options = ml_collections.ConfigDict({"num_layers": 1, "num_heads": 3})
  config.model.image_encoder.feature_dim = 16
  config.model.loss_weights = ml_collections.ConfigDict(dict.fromkeys(config.model.loss_weights, 0.0) | {"main": 1.0})
  assert mistakes(config) == [
    "config.model.image_encoder.feature_dim is 16, expected a multiple of config.model.composer_options.num_heads = 3"
  ]


def test_reranking_needs_a_trained_text_decoder(config):
  config.eval.rerank, config.best_metric = 10, "rerank/noun/R@5"
  assert not mistakes(config)
  config.model.loss_weights.text_reconstruction = 0.0
  assert mistakes(config) == [
    "config.eval.rerank is 10, expected 0 without a text decoder that text_reconstruction trains"
  ]


def test_a_loss_that_the_composer_lacks(config):
  config.model.composer = "tirg"
  assert [line.partition(" is ")[0] for line in mistakes(config)] == [
    "config.model.loss_weights.image_reconstruction",
    "config.model.loss_weights.text_reconstruction",
    "config.model.loss_weights.rotational_symmetry",
  ]


def test_options_are_those_of_the_composer(config):
  config.model = models.get_config("sum")
  config.model.composer_options.text_weight = -1.0
  config.model.composer_options.normalised = True
  assert mistakes(config) == [
    "config.model.composer_options.normalised is no option of sum, which has: normalise, text_weight "
    "(did you mean 'normalise'?)",
    "config.model.composer_options.text_weight is -1.0, expected at least 0",
  ]
  config.model.composer = "tirg"
  assert mistakes(config) == [
    f"config.model.composer_options.{name} is no option of tirg, which has: none"
    for name in ("normalise", "normalised", "text_weight")
  ]


def test_a_mistyped_option_beside_a_mistyped_composer(config):
  config.model = models.get_config("rotor")
  config.model.composer_options.rotate = True
  config.model.composer = "rotors"
  names = [line.split(" is ")[0] for line in mistakes(config)]
  assert names == ["config.model.composer"]
  config.model.composer = "rotor"
  assert mistakes(config) == [
    "config.model.composer_options.rotate is no option of rotor, which has: rotates, gates, shifts, "
    "scales_image (did you mean 'rotates'?)"
  ]


def test_a_width_that_the_composer_does_not_take(config):
  config.model = models.get_config("rotor")
  config.model.image_encoder.feature_dim = 15
  assert mistakes(config) == [
    "config.model.image_encoder.feature_dim is 15, expected an even number: the rotor reads it as complex numbers"
  ]


def test_options_of_a_data_set_that_exclude_each_other():
  config = importlib.import_module("configs.catalogue").get_config()
  config.data.triplets, config.data.captions = "a.csv", "b.csv"
  assert mistakes(config) == ["config.data.captions is 'b.csv', expected nothing beside config.data.triplets"]


def test_a_run_of_no_steps_needs_no_warmup_and_no_decay(config):
  config.num_train_steps, config.decay = 0, "cosine"
  assert not mistakes(config)
  build_optimizer(config)


def test_a_text_that_the_data_set_lacks():
  config = importlib.import_module("configs.css3d").get_config()
  config.text_query = "complete"
  assert mistakes(config) == ["config.text_query is 'complete', expected modification: css3d has no other"]


def test_the_metric_of_categories_that_are_not_trained_is_none():
  config = fashion_iq.get_config()
  config.best_metric = "shirt/R@10"
  assert not mistakes(config)
  config.data.categories = ("dress",)
  (line,) = mistakes(config)
  assert line.startswith("config.best_metric is 'shirt/R@10', expected one of dress/R@10, ")
  config.data.categories = ("dress", "dress")
  assert mistakes(config) == ["config.data.categories is ('dress', 'dress'), expected each value once"]


def test_fields_that_are_missing_or_unknown_are_named():
  config = mit_states.get_config()
  with config.unlocked():
    del config.data["image_size"]
    config.data.image_sizes = 64
  assert mistakes(config) == [
    "config.data.image_size is missing",
    "config.data.image_sizes is no field of a run with this data set (did you mean 'data.image_size'?)",
  ]


def test_a_mistaken_field_does_not_hide_what_others_do_wrong_together(config):
  config.loss = "none"
  config.num_warmup_steps = 9
  config.train.steps_per_call = 3
  names = {line.split(" ")[0] for line in mistakes(config)}
  assert {"config.loss", "config.num_warmup_steps", "config.num_train_steps"} <= names


@pytest.mark.parametrize(
  "mode",
  [
    lambda config, folder: train(config, folder / "run"),
    lambda config, folder: evaluate(config, folder / "run"),
    lambda config, folder: export(config, folder / "run", folder / "bundle"),
    lambda config, folder: import_checkpoint(config, folder / "run", folder / "original.pth"),
    lambda config, folder: gallery_images(config),
  ],
)
def test_every_mode_checks_the_configuration_before_it_reads_anything(config, tmp_path, mode):
  config.seed, config.data.dir, config.model.image_encoder.frozen = -1, str(tmp_path / "nowhere"), True
  with pytest.raises(InputError, match="config.seed is -1, expected at least 0"):
    mode(config, tmp_path)
  assert not list(tmp_path.iterdir())


VALUES = strategies.one_of(
  strategies.none(),
  strategies.booleans(),
  strategies.integers(),
  strategies.integers(min_value=-2, max_value=9),
  strategies.floats(),
  strategies.text(string.printable, max_size=8),
  strategies.sampled_from([*COMPOSERS, *OPTIMIZERS, *LOSSES, *DATA_SETS, "complete", "bert", "skip", "1:9", "a\0"]),
  strategies.lists(strategies.integers(0, 3), max_size=3).map(tuple),
  strategies.lists(strategies.sampled_from(["dress", "shirt", "hat"]), max_size=3).map(tuple),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
  strategies.sampled_from(DATA_SETS),
  strategies.dictionaries(strategies.sampled_from([*FIELDS, "data.categories", "extra", "data.x"]), VALUES, max_size=6),
  strategies.integers(1, 9),
)
def test_no_configuration_ends_in_another_error_than_ours(name, changes, num_devices):
  config = importlib.import_module(f"configs.{name}").get_config()
  with config.unlocked(), config.ignore_type():
    config.update_from_flattened_dict(changes)
  for line in mistakes(config, num_devices):
    assert line.startswith("config.")


SIZES = strategies.integers(1, 9)
TRAINABLE = strategies.fixed_dictionaries(
  {
    # Composers of words are refused without towers.
    "model.composer": strategies.sampled_from(sorted(name for name, own in COMPOSERS.items() if not own.placeholder)),
    "model.radius": strategies.sampled_from([1.0, 10.0]),
    "model.train_radius": strategies.booleans(),
    "model.image_encoder.width": SIZES,
    "model.image_encoder.block": strategies.sampled_from(["basic", "bottleneck"]),
    "model.image_encoder.stage_sizes": strategies.lists(strategies.integers(1, 2), min_size=1, max_size=3).map(tuple),
    "model.image_encoder.feature_dim": SIZES,
    "model.image_encoder.dtype": strategies.sampled_from(["float32", "bfloat16"]),
    "model.text_encoder.embedding_dim": SIZES,
    "model.text_encoder.feature_dim": SIZES,
    "model.loss_weights.image_reconstruction": strategies.sampled_from([0.0, 0.1]),
    "model.loss_weights.rotational_symmetry": strategies.sampled_from([0.0, 0.1]),
    "data.image_size": strategies.integers(1, 40),
    "batch_size": strategies.integers(1, 6),
    "loss": strategies.sampled_from(sorted(LOSSES)),
    "loss_block_rows": strategies.integers(0, 4),
    "optimizer": strategies.sampled_from(sorted(OPTIMIZERS)),
    "decay": strategies.sampled_from(sorted(DECAYS)),
    "num_warmup_steps": strategies.integers(0, 3),
    "ema_decay": strategies.sampled_from([0.0, 0.9]),
    "max_gradient_norm": strategies.sampled_from([0.0, 1.0]),
    "augment.flip": strategies.booleans(),
    "augment.min_crop_area": strategies.sampled_from([0.5, 1.0]),
    "train.num_microbatches": strategies.integers(1, 3),
    "train.on_nonfinite": strategies.sampled_from(["stop", "skip"]),
  }
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(TRAINABLE)
@pytest.mark.slow
def test_what_passes_can_be_trained(changes):
  config = shapes.get_config("compose_ae")
  config.model.loss_weights = ml_collections.ConfigDict(dict.fromkeys(config.model.loss_weights, 0.0) | {"main": 1.0})
  config.update_from_flattened_dict(changes)
  if config.model.composer == "magic_lens":
    config.model.composer_options = ml_collections.ConfigDict({"num_layers": 1, "num_heads": 1})
  assume(not mistakes(config))
  texts = open_texts(config.model.text_encoder, ["old red"], ["old red"], batch_size=1)
  options = {"has_bias": LOSSES[config.loss].has_bias, "empty_text": texts.empty_text()}
  model = build_model(config.model, texts.build_encoder, seed=0, **options)
  optimizer = build_optimizer(config)
  pixels = jax.ShapeDtypeStruct((config.batch_size, config.data.image_size, config.data.image_size, 3), jnp.uint8)
  batch = {"reference": pixels, "target": pixels, "tokens": jax.ShapeDtypeStruct((config.batch_size, 2), jnp.int32)}
  state = create_state(model, optimizer, seed=0)
  step = make_train_step(model, optimizer, config)
  after = jax.eval_shape(lambda *arrays: jax.tree.leaves(step(*arrays)[0]), state, batch)
  assert [(leaf.shape, leaf.dtype) for leaf in after] == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)]
