"""LinCIR, SEARLE and Pic2Word: networks, composed prompts, losses, ten steps and checkpoints of the originals."""

import json
import os
import pathlib

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from composeret_jax.models.composers.inversion import LinCir, Pic2Word, Searle
from composeret_jax.models.encoders.projected import freeze, ProjectedTextEncoder
from composeret_jax.models.encoders.text_tower import Replacement
from composeret_jax.models.encoders.transformer import ACTIVATIONS, DEFAULT_COMPUTE
from composeret_jax.models.encoders.vit import Colours
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.inversion import phi_slots, read_phi
from composeret_jax.pretrained.slots import fill
from composeret_jax.pretrained.towers.tower_folder import open_image_folder, open_text_folder
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.objective import weighted_losses
from composeret_jax.train_step.optimizers import build_optimizer
from configs import lincir as lincir_config
from configs import pic2word as pic2word_config
from tests.parity import golden

STAGE, UNIT, LOSS, TEN_STEPS = 3e-5, 3e-6, 1e-5, 1e-3
DOLLAR = 259
WEIGHTS = {"main": 1.0, "image_reconstruction": 0.0, "text_reconstruction": 0.0, "rotational_symmetry": 0.0}


def folder():
  golden.load("zero_shot/lincir")  # skips where there are none
  return pathlib.Path(os.environ["COMPOSERET_GOLDEN"]) / "zero_shot"


def loaded_tower(opened, *arguments):
  tower = opened.family.build(opened.fields, *arguments, DEFAULT_COMPUTE)
  opened.load(tower)
  return tower


@pytest.fixture(scope="module")
def text_encoder():
  encoder = ProjectedTextEncoder(loaded_tower(open_text_folder(str(folder() / "tiny_clip"))), 0, rngs=nnx.Rngs(0))
  freeze(encoder)
  return encoder


@pytest.fixture(scope="module")
def vit():
  return loaded_tower(open_image_folder(str(folder() / "tiny_clip")), 32, Colours((), ()))


def image_features(vit, pixel_values):
  images = jnp.asarray(pixel_values).transpose(0, 2, 3, 1)
  return vit.projection(vit.norm(vit.states_of(images)[:, 0]))


def close(ours, theirs, limit):
  assert ours.shape == theirs.shape
  assert np.abs(np.asarray(ours) - theirs).max() < limit


def unit(features):
  return features / np.linalg.norm(features, axis=-1, keepdims=True)


def phi_model(numbers, prefix, composer, text_encoder):
  """A model of a composer with the original's weights, that reads image features."""
  fill(golden.under(numbers, prefix), phi_slots(composer))
  return RetrievalModel(nnx.Module(), text_encoder, composer, radius=1.0, train_radius=False)


@pytest.fixture(scope="module")
def lincir_numbers():
  return golden.load("zero_shot/lincir")


@pytest.fixture(scope="module")
def pic2word_numbers():
  return golden.load("zero_shot/pic2word")


def lincir(numbers, text_encoder, kind=LinCir, **options):
  sizes = json.loads(str(numbers["config"]))["phi"]
  assert sizes["hidden_dim"] == 4 * sizes["input_dim"]
  composer = kind(sizes["input_dim"], sizes["output_dim"], placeholder_id=DOLLAR, rngs=nnx.Rngs(0), **options)
  return phi_model(numbers, "param/Phi/", composer, text_encoder)


def pic2word(numbers, text_encoder, **options):
  config = json.loads(str(numbers["config"]))
  composer = Pic2Word(
    config["embed_dim"],
    config["output_dim"],
    placeholder_id=int(numbers["star_token_id"]),
    num_layers=config["n_layer"],
    hidden_dim=config["middle_dim"],
    rngs=nnx.Rngs(0),
    **options,
  )
  return phi_model(numbers, "param/img2text/", composer, text_encoder)


@pytest.mark.parametrize("name", ["lincir", "pic2word"])
def test_the_network(name, request, text_encoder):
  numbers = request.getfixturevalue(f"{name}_numbers")
  phi = {"lincir": lincir, "pic2word": pic2word}[name](numbers, text_encoder).composer.phi
  phi.eval()
  expected = golden.under(numbers, {"lincir": "phi/", "pic2word": "img2text/"}[name])
  states = jnp.asarray(expected["in"])
  close(phi(states), expected["out"], STAGE)
  for i, layer in enumerate(phi.hidden):
    states = ACTIVATIONS[phi.activation](layer(states))
    close(states, expected[f"hidden_{i}"], STAGE)


def test_lincirs_composed_prompt(lincir_numbers, text_encoder, vit):
  expected = golden.under(lincir_numbers, "e2e/")
  model, tokens = lincir(lincir_numbers, text_encoder), jnp.asarray(expected["input_ids"])
  model.eval()
  images = image_features(vit, expected["pixel_values"])
  close(images, expected["image_embeds"], STAGE)
  words = model.composer.phi(images)
  close(words, expected["pseudo_tokens"], STAGE)
  places = model.composer.places(tokens)
  np.testing.assert_array_equal(places, expected["is_placeholder"])
  states = text_encoder.trunk.states(tokens, causal=True, replaced=Replacement(words, places))
  close(states[:, :20], expected["last_hidden_state_after_final_norm_first_20"], STAGE)
  composed = model.compose(images, model.encode_texts(tokens))
  close(composed, expected["text_features"], STAGE)
  close(model.on_sphere(composed), expected["text_features_normalised"], UNIT)
  close(text_encoder(tokens), expected["text_features_without_replacement"], STAGE)


def test_lincirs_images_of_length_1(lincir_numbers, text_encoder):
  expected = golden.under(lincir_numbers, "e2e/")
  model = lincir(lincir_numbers, text_encoder, normalise=True)
  model.eval()
  composed = model.compose(jnp.asarray(expected["image_embeds"]), jnp.asarray(expected["input_ids"]))
  close(composed, expected["text_features_if_l2_normalize"], STAGE)


def test_searle_replaces_the_first_placeholder_alone(lincir_numbers, text_encoder):
  expected = golden.load("zero_shot/searle")
  model = lincir(lincir_numbers, text_encoder, Searle)
  model.eval()
  images = jnp.asarray(expected["image_features"])
  close(model.composer.phi(images), expected["pseudo_tokens"], STAGE)
  close(model.compose(images, jnp.asarray(expected["input_ids"])), expected["text_features"], STAGE)


def test_pic2words_composed_prompts(pic2word_numbers, text_encoder, vit):
  numbers = pic2word_numbers
  model = pic2word(numbers, text_encoder)
  model.eval()
  images = image_features(vit, numbers["in/pixel_values"])
  close(images, numbers["image_features"], STAGE)
  words = model.composer.phi(images)
  close(words, numbers["pseudo_tokens"], STAGE)
  each = golden.under(numbers, "compose_each/")
  close(model.compose(images, jnp.asarray(each["ids"])), each["text_features"], STAGE)
  close(text_encoder(jnp.asarray(each["ids"])), each["text_features_plain"], STAGE)
  shared = golden.under(numbers, "compose_shared/")
  ids = jnp.broadcast_to(shared["ids"], (len(images), shared["ids"].shape[1]))
  close(model.compose(images, ids), shared["text_features"], STAGE)


def test_pic2words_star_is_each_texts_own(pic2word_numbers, text_encoder):
  """The original replaces the token at the place of the first text's star in every text of a batch."""
  trap = golden.under(pic2word_numbers, "compose_trap/")
  model, tokens = pic2word(pic2word_numbers, text_encoder), jnp.asarray(trap["ids"])
  model.eval()
  images = jnp.asarray(pic2word_numbers["image_features"][: len(tokens)])
  own = model.composer.places(tokens)
  at_the_first_texts = jnp.broadcast_to(own[:1], own.shape)
  words = model.composer.phi(images)
  close(text_encoder(tokens, replaced=Replacement(words, at_the_first_texts)), trap["text_features"], STAGE)
  composed = model.compose(images, tokens)
  close(composed[:1], trap["text_features"][:1], STAGE)
  assert np.abs(composed[1] - trap["text_features"][1]).max() > 0.1


class GivenNoise(nnx.Module):
  """The original's draws of one step."""

  def __init__(self, scale, normal):
    self.scale, self.normal = scale, normal

  def __call__(self, features, *, rngs):
    return features + self.scale[:, None] * self.normal


def ten_steps(model, optimizer, batches, loss, noises=None):
  """The loss of each step, the norms of the first gradient and the parameters at the end, by the originals' names."""
  structure, params, rest = nnx.split(model, nnx.Param, ...)

  @jax.jit
  def step(params, state, images, tokens, noise):
    def total(params):
      trained = nnx.merge(structure, params, rest, copy=True)
      trained.train()
      if noise is not None:
        trained.composer.noise = GivenNoise(*noise)
      pair_loss = LOSSES[loss].pair_loss(jax.random.key(0), len(images))
      return weighted_losses(
        trained,
        images,
        images,
        tokens,
        loss=pair_loss,
        weights=WEIGHTS,
        on_sphere=LOSSES[loss].on_sphere,
        rngs=RowKeys(jax.random.key(0), jnp.arange(len(images))),
      )["total"]

    value, gradients = jax.value_and_grad(total)(params)
    updates, state = optimizer.update(gradients, state, params)
    return value, gradients, optax.apply_updates(params, updates), state

  def by_name(params):
    merged = nnx.merge(structure, params, rest, copy=True)
    return {name: slot.read() for name, slot in phi_slots(merged.composer).items()}

  state, losses, first = optimizer.init(params), [], None
  for number, (images, tokens) in enumerate(batches):
    noise = None if noises is None else tuple(own[number] for own in noises)
    value, gradients, params, state = step(params, state, images, tokens, noise)
    losses.append(float(value))
    if first is None:
      first = {name: np.linalg.norm(gradient) for name, gradient in by_name(gradients).items()}
  return losses, first, by_name(params)


def check_ten_steps(found, losses, norms, params):
  found_losses, found_norms, found_params = found
  assert found_losses[0] == pytest.approx(losses[0], rel=LOSS)
  np.testing.assert_allclose(found_losses, losses, rtol=TEN_STEPS)
  assert found_norms.keys() == norms.keys() == params.keys()
  for name, norm in norms.items():
    assert found_norms[name] == pytest.approx(float(norm), rel=TEN_STEPS), name
    # Of single numbers whose gradient is next to nothing, Adam's step is as large as rounding makes it.
    assert np.linalg.norm(found_params[name] - params[name]) < TEN_STEPS * np.linalg.norm(params[name]), name


@pytest.mark.parametrize("kind", ["train", "train_l2_normalize"])
def test_lincirs_ten_steps(lincir_numbers, text_encoder, kind):
  numbers, config = lincir_numbers, json.loads(str(lincir_numbers["config"]))["train"]
  model = lincir(numbers, text_encoder, dropout=config["dropout"], normalise=kind == "train_l2_normalize")
  own = lincir_config.get_config("large,captions")
  assert own.weight_decay == config["weight_decay"]
  own.learning_rate = config["learning_rate"]
  optimizer = build_optimizer(own)
  batches = []
  for number in numbers["train/batch_order"]:
    batch = golden.under(numbers, f"train/batch_{number}/")
    features = text_encoder(jnp.asarray(batch["original_ids"]))
    close(features, batch["original_text_embeds"], STAGE)
    batches.append((features, jnp.asarray(batch["replaced_ids"])))
  expected = golden.under(numbers, f"{kind}/")
  noises = jnp.asarray(expected["noise_scale_uniform"]), jnp.asarray(expected["noise_normal"])
  found = ten_steps(model, optimizer, batches, "mean_squared_error", noises)
  norms, params = golden.under(expected, "grad_norm_first_step/"), golden.under(expected, "param_after_10_steps/")
  check_ten_steps(found, expected["loss"], norms, params)


def with_a_star(numbers):
  """The original's prompts, with the star before the end of each, where the original puts the word in."""
  ids = numbers["train/prompt_ids"]
  ends = ids.argmax(axis=1)
  return jnp.stack([jnp.insert(row, end, numbers["star_token_id"])[:-1] for row, end in zip(ids, ends, strict=True)])


@pytest.mark.parametrize("kind", ["train", "train_scale_100"])
def test_pic2words_loss_and_ten_steps(pic2word_numbers, text_encoder, kind):
  numbers, expected = pic2word_numbers, golden.under(pic2word_numbers, f"{kind}/")
  model = pic2word(numbers, text_encoder, dropout=0.0)
  model.radius = float(np.exp(expected["logit_scale_log"] / 2))
  images, tokens = jnp.asarray(numbers["image_features"]), with_a_star(numbers)
  if kind == "train":
    close(model.compose(images, tokens), expected["text_features"], STAGE)
  own = pic2word_config.get_config("large,images")
  own.update(learning_rate=1e-3, num_warmup_steps=0, decay="step")  # ten steps at one rate
  optimizer = build_optimizer(own)
  found = ten_steps(model, optimizer, [(images, tokens)] * 10, "info_nce")
  losses = expected["loss_over_10_steps"]
  assert losses[0] == pytest.approx(float(expected["loss"]), rel=LOSS)
  # The parameters after ten steps were kept of the larger scale alone, under the other's name.
  params = golden.under(numbers, "train/param_after_10_steps/") if kind == "train_scale_100" else found[2]
  check_ten_steps(found, losses, golden.under(expected, "grad_norm/"), params)


def test_checkpoints(lincir_numbers, pic2word_numbers, text_encoder):
  found = read_phi(folder() / "lincir_phi_tiny.pt", lincir(lincir_numbers, text_encoder).composer)
  expected = golden.under(lincir_numbers, "train/param_after_10_steps/")
  assert found.keys() == expected.keys()
  for name, tensor in found.items():
    np.testing.assert_array_equal(tensor, expected[name])
  composer = pic2word(pic2word_numbers, text_encoder).composer
  found, expected = read_phi(folder() / "pic2word_tiny.pt", composer), golden.under(pic2word_numbers, "param/img2text/")
  assert found.keys() == expected.keys() == phi_slots(composer).keys()
  for name, tensor in found.items():
    np.testing.assert_array_equal(tensor, expected[name].astype(np.float32))
