"""Which tokens become the image's word, what noise does, and what a step changes; the numbers are in tests/parity."""

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.composers.inversion import LinCir, Pic2Word, Searle
from composeret_jax.models.encoders.projected import freeze, Frozen, ProjectedTextEncoder
from composeret_jax.models.encoders.text_tower import ClipText, TextTowerConfig
from composeret_jax.models.encoders.transformer import DEFAULT_COMPUTE
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.layers.feature_noise import FeatureNoise

DIM, WORD_DIM, PLACEHOLDER, END = 6, 8, 5, 9
TOKENS = jnp.array([[1, 5, 2, 5, 9, -1], [5, 1, 1, 5, 5, 9], [1, 2, 3, 4, 9, -1]])
EVERY = [[0, 1, 0, 1, 0, 0], [1, 0, 0, 1, 1, 0], [0] * 6]
FIRST = [[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6]


@pytest.fixture
def text_encoder():
  sizes = {"hidden_size": WORD_DIM, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
  config = TextTowerConfig(
    **sizes, hidden_act="gelu", layer_norm_eps=1e-5, vocab_size=END + 1, max_position_embeddings=6
  )
  tower = ClipText(config, DIM, END, DEFAULT_COMPUTE, rngs=nnx.Rngs(0))
  rng = np.random.default_rng(0)
  state = jax.tree.map(lambda it: jnp.asarray(rng.normal(0, 0.3, it.shape), jnp.float32), nnx.state(tower))
  nnx.update(tower, state)
  return ProjectedTextEncoder(tower, 0, rngs=nnx.Rngs(0))


def made(kind, **options):
  return kind(DIM, WORD_DIM, placeholder_id=PLACEHOLDER, rngs=nnx.Rngs(0), **options)


IMAGES = jnp.asarray(np.random.default_rng(1).normal(size=(3, DIM)), jnp.float32)


@pytest.mark.parametrize(("kind", "expected"), [(LinCir, EVERY), (Searle, FIRST), (Pic2Word, FIRST)])
def test_the_tokens_that_become_the_word(kind, expected):
  np.testing.assert_array_equal(made(kind).places(TOKENS), np.array(expected, bool))


@pytest.mark.parametrize("kind", [LinCir, Searle, Pic2Word])
def test_the_word_stands_for_the_placeholder_as_if_it_were_in_the_vocabulary(kind, text_encoder):
  composer = made(kind)
  composer.eval()
  composed = composer(IMAGES, TOKENS, text_encoder=text_encoder)
  words, embeddings = composer.phi(IMAGES), text_encoder.trunk.embeddings.words
  plain = embeddings[...]
  for row, (word, tokens) in enumerate(zip(words, TOKENS, strict=True)):
    embeddings[...] = plain.at[0].set(word)  # token 0 is in no text
    replaced = jnp.where(composer.places(tokens[None]), 0, tokens)
    np.testing.assert_allclose(composed[row], text_encoder(replaced)[0], atol=1e-5)
  embeddings[...] = plain
  np.testing.assert_allclose(composed[2], text_encoder(TOKENS[2:])[0], atol=1e-5)  # has no placeholder
  assert np.abs(composed[:2] - text_encoder(TOKENS[:2])).max() > 1e-3


def test_noise_is_of_training_alone_and_scaled_by_one_number_a_row():
  noise, features = FeatureNoise(), jnp.zeros((2000, 64))
  drawn = np.asarray(noise(features, rngs=RowKeys(jax.random.key(0), jnp.arange(2000))))
  scale = drawn.std(axis=1)
  assert scale.min() < 0.02 and 0.9 < scale.max() < 1.4
  assert scale.mean() == pytest.approx(0.5, abs=0.03)  # uniform in [0, 1)
  own = noise(features[:3], rngs=RowKeys(jax.random.key(0), jnp.array([7, 8, 9])))
  np.testing.assert_array_equal(own, drawn[7:10])  # a row's draw is its own
  with pytest.raises(ValueError, match="expected RowKeys"):
    noise(features, rngs=None)
  noise.eval()
  np.testing.assert_array_equal(noise(features, rngs=None), features)


def test_lincir_reads_directions_alone_where_it_is_asked_to():
  composer = made(LinCir, normalise=True)
  composer.eval()
  np.testing.assert_allclose(jnp.linalg.norm(composer.phi_input(IMAGES, rngs=None), axis=1), 1, rtol=1e-6)
  plain = made(LinCir)
  plain.eval()
  np.testing.assert_array_equal(plain.phi_input(IMAGES, rngs=None), IMAGES)


def test_what_is_frozen_has_nothing_to_train_and_computes_the_same(text_encoder):
  before, num = text_encoder(TOKENS), len(jax.tree.leaves(nnx.state(text_encoder, nnx.Param)))
  freeze(text_encoder)
  assert not jax.tree.leaves(nnx.state(text_encoder, nnx.Param))
  assert len(jax.tree.leaves(nnx.state(text_encoder, Frozen))) == num > 10
  np.testing.assert_array_equal(text_encoder(TOKENS), before)
