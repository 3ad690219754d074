"""Every model of configs/models.py trains and evaluates; losses that a composer cannot give are refused."""

import io

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from composeret_jax.evaluation.evaluator import Evaluator
from composeret_jax.pretrained.text_encoder import open_texts
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.config.check import check_config
from composeret_jax.training.model import build_model
from configs import shapes
from configs.models import MODELS
from data_pipelines.dataset import Dataset
from data_pipelines.input_error import InputError
from data_pipelines.pixels.source import DecodedPixels
from data_pipelines.samplers import ListedSampler
from data_pipelines.tables import ImageTable, QueryTable

NUM_IMAGES, NUM_QUERIES = 7, 11
WORDS = ("bright", "dark")


@pytest.fixture(params=MODELS)
def config(request):
  return small_config(request.param)


def small_config(model):
  config = shapes.get_config(model)
  config.model.image_encoder.width = 24
  config.model.image_encoder.stage_sizes = (1,)
  config.model.image_encoder.feature_dim = 20
  config.model.text_encoder.embedding_dim = 8
  config.model.text_encoder.feature_dim = 16
  if model == "magic_lens":
    config.model.composer_options.num_heads = 4
  config.data.image_size = 16
  config.eval.batch_size = 4
  return config


@pytest.fixture(scope="module")
def dataset():
  rng = np.random.default_rng(0)
  images = ImageTable(
    names=[str(i) for i in range(NUM_IMAGES)],
    labels=[f"label {i}" for i in range(NUM_IMAGES)],
    encoded=[png(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(NUM_IMAGES)],
    groups=[""] * NUM_IMAGES,
  )
  references = rng.integers(0, NUM_IMAGES, NUM_QUERIES)
  queries = QueryTable(
    references,
    [WORDS[i % 2] for i in range(NUM_QUERIES)],
    [f"label {(reference + 1 + i % 5) % NUM_IMAGES}" for i, reference in enumerate(references)],
    [""] * NUM_QUERIES,
  )
  triplets = ListedSampler(queries, images.labels)
  return Dataset(images, triplets, images, queries, lambda images, _: DecodedPixels(images, 16))


def png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "PNG")
  return buffer.getvalue()


def test_training_step_gives_the_losses_that_have_a_weight(config):
  check_config(config, num_devices=1)
  texts = open_texts(config.model.text_encoder, WORDS, WORDS, batch_size=4)
  model = build_model(config.model, texts.build_encoder, seed=0, empty_text=texts.empty_text())
  optimizer = build_optimizer(config)
  step = make_train_step(model, optimizer, config)
  pixels = np.zeros((4, 16, 16, 3), np.uint8)
  batch = {"reference": pixels, "target": pixels, "tokens": np.ones((4, 2), np.int32)}
  state = create_state(model, optimizer, seed=0)
  losses = jax.eval_shape(lambda state, batch: step(state, batch)[1], state, batch)  # traced, not compiled
  weighted = {name for name, weight in config.model.loss_weights.items() if weight}
  assert losses.keys() == weighted | {"total", "gradient_norm"}


@pytest.mark.parametrize("name", ["tirg", "tirg_last_conv", "magic_lens"])
def test_evaluation_composes_each_query_with_its_own_reference(name, dataset):
  config = small_config(name)
  texts = open_texts(config.model.text_encoder, WORDS, WORDS, batch_size=4)
  model = build_model(config.model, texts.build_encoder, seed=0, empty_text=texts.empty_text())
  state = create_state(model, build_optimizer(config), seed=0)
  evaluation = Evaluator(model, dataset, texts.reader, config)(state.variables)
  np.testing.assert_array_equal(evaluation.ranks, ranks_one_query_at_a_time(model, dataset, texts.reader))


def ranks_one_query_at_a_time(model, dataset, reader):
  model.eval()
  pixels = jnp.stack([jnp.asarray(Image.open(io.BytesIO(png))) for png in dataset.gallery.encoded])
  gallery = np.asarray(model.on_sphere(model.encode_targets(pixels)))
  ranks = []
  for reference, text in zip(dataset.queries.references, dataset.queries.texts, strict=True):
    text_feature = model.encode_texts(jnp.asarray(reader.encode([text])))
    composed = model.compose(model.encode_references(pixels[reference : reference + 1]), text_feature)
    scores = gallery @ np.asarray(model.on_sphere(composed))[0]
    scores[reference] = -np.inf
    ranks.append(np.argsort(-scores, kind="stable")[:-1])
  return np.stack(ranks)


def test_losses_that_the_composer_cannot_give_are_refused():
  config = shapes.get_config("tirg")
  config.model.loss_weights.rotational_symmetry = 0.01
  config.model.loss_weights.text_reconstruction = 0.1
  with pytest.raises(InputError) as error:
    check_config(config, num_devices=1)
  assert str(error.value).splitlines() == [
    "config.model.loss_weights.text_reconstruction is 0.1, expected 0: tirg has no such loss",
    "config.model.loss_weights.rotational_symmetry is 0.01, expected 0: tirg has no such loss",
  ]


def test_an_autoencoder_without_rotation_has_no_rotational_loss():
  config = shapes.get_config("real_space_concat_ae")
  check_config(config, num_devices=1)
  config.model.loss_weights.rotational_symmetry = 0.01
  with pytest.raises(InputError, match="rotational_symmetry.*real_space_concat_ae has no such loss"):
    check_config(config, num_devices=1)
