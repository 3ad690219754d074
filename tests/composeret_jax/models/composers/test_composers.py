"""The composers that no golden file covers, against NumPy; and what all of them have in common."""

import inspect

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.composers.baselines import Concat, ImageOnly, Sum, TextOnly
from composeret_jax.models.composers.combiner import Combiner
from composeret_jax.models.composers.tirg import TirgLastConv
from composeret_jax.models.layers.batch_statistics import EPSILON
from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.models.retrieval_model import RetrievalModel
from data_pipelines.input_error import InputError

BATCH, IMAGE_DIM = 5, 12
TEXT_DIMS = (12, 7, 20)


@pytest.fixture(params=TEXT_DIMS)
def text_dim(request):
  return request.param


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def shaken(composer):
  """The composer in evaluation mode, with every parameter and statistic drawn anew, so that none is 0 or 1."""
  rng = np.random.default_rng(1)
  state = nnx.state(composer, (nnx.Param, nnx.BatchStat))
  nnx.update(composer, jax.tree.map(lambda v: jnp.asarray(rng.uniform(0.2, 1.0, v.shape), jnp.float32), state))
  composer.eval()
  return composer


def batch_norm(norm, x):
  return (x - norm.mean[...]) / np.sqrt(norm.var[...] + EPSILON) * norm.scale[...] + norm.bias[...]


def relu(x):
  return np.maximum(x, 0)


def linear(layer, x):
  return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def convolve(conv, maps):
  """A 3x3 convolution place by place."""
  kernel, bias = np.asarray(conv.kernel[...]), np.asarray(conv.bias[...])
  padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
  out = np.empty((*maps.shape[:3], len(bias)))
  for y, x in np.ndindex(maps.shape[1:3]):
    out[:, y, x] = np.einsum("bijc,ijco->bo", padded[:, y : y + 3, x : x + 3], kernel) + bias
  return out


def test_concat(text_dim):
  composer = shaken(Concat(IMAGE_DIM, text_dim, rngs=nnx.Rngs(0)))
  image, text = random(BATCH, IMAGE_DIM), random(BATCH, text_dim, seed=1)
  hidden = linear(composer.hidden, relu(batch_norm(composer.norm, np.concatenate([image, text], axis=1))))
  expected = linear(composer.out, relu(batch_norm(composer.hidden_norm, hidden)))
  np.testing.assert_allclose(composer(jnp.asarray(image), jnp.asarray(text)), expected, rtol=1e-4)


def test_concat_drops_a_tenth_of_the_hidden_layer_while_training():
  composer = Concat(IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))
  assert composer.dropout.rate == 0.1
  composer.train()
  image, text = jnp.asarray(random(BATCH, IMAGE_DIM)), jnp.asarray(random(BATCH, IMAGE_DIM, seed=1))
  first, second = (composer(image, text, rngs=RowKeys(jax.random.key(seed), jnp.arange(BATCH))) for seed in range(2))
  assert not np.allclose(first, second)


def test_sum_adds_the_features_themselves_where_widths_agree():
  composer = Sum(IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))
  image, text = random(BATCH, IMAGE_DIM), random(BATCH, IMAGE_DIM, seed=1)
  np.testing.assert_array_equal(composer(jnp.asarray(image), jnp.asarray(text)), image + text)
  assert not nnx.to_flat_state(nnx.state(composer, nnx.Param))


def test_sum_brings_another_text_width_to_the_image_width():
  composer = shaken(Sum(IMAGE_DIM, 7, rngs=nnx.Rngs(0)))
  image, text = random(BATCH, IMAGE_DIM), random(BATCH, 7, seed=1)
  expected = image + linear(composer.to_image_width.layer, text)
  np.testing.assert_allclose(composer(jnp.asarray(image), jnp.asarray(text)), expected, rtol=1e-4)


@pytest.mark.parametrize("text_dim, num_parameters", [(IMAGE_DIM, 0), (7, 2)])
def test_a_normalised_sum_adds_unit_vectors_weighted(text_dim, num_parameters):
  composer = Sum(IMAGE_DIM, text_dim, normalise=True, text_weight=0.25, rngs=nnx.Rngs(0))
  image, text = 3 * random(BATCH, IMAGE_DIM), random(BATCH, text_dim, seed=1)
  assert len(nnx.to_flat_state(nnx.state(composer, nnx.Param))) == num_parameters
  at_width = linear(composer.to_image_width.layer, text) if num_parameters else text
  expected = unit(image) + 0.25 * unit(at_width)
  np.testing.assert_allclose(composer(jnp.asarray(image), jnp.asarray(text)), expected, rtol=1e-5, atol=1e-6)


def unit(rows):
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_combiner():
  composer = Combiner(IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))  # as it starts: larger weights would open every gate
  composer.eval()
  image, text = 3 * random(BATCH, IMAGE_DIM), 3 * random(BATCH, IMAGE_DIM, seed=1)
  projections = (composer.image_projection, image), (composer.text_projection, text)
  both = np.concatenate([relu(linear(part.layer, rows)) for part, rows in projections], axis=1)
  assert both.shape == (BATCH, 8 * IMAGE_DIM)
  gate = 1 / (1 + np.exp(-linear(composer.gate, relu(linear(composer.gate_hidden.layer, both)))))
  assert gate.shape == (BATCH, 1) and gate.std() > 0.01
  residual = linear(composer.residual, relu(linear(composer.residual_hidden.layer, both)))
  assert composer.residual_hidden.layer.kernel.shape == (8 * IMAGE_DIM, 8 * IMAGE_DIM)
  expected = residual + gate * text + (1 - gate) * image
  np.testing.assert_allclose(composer(jnp.asarray(image), jnp.asarray(text)), expected, rtol=1e-4, atol=1e-5)


def test_the_combiner_halves_all_four_hidden_layers_while_training():
  composer = Combiner(IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))
  assert [layer.rate for _, layer in nnx.iter_graph(composer) if isinstance(layer, Dropout)] == 4 * [0.5]
  composer.train()
  image, text = jnp.asarray(random(BATCH, IMAGE_DIM)), jnp.asarray(random(BATCH, IMAGE_DIM, seed=1))
  rngs = RowKeys(jax.random.key(0), jnp.arange(BATCH))
  composer(image, text, rngs=rngs)
  assert rngs.num_drawn == 4


def test_image_only_ignores_the_text(text_dim):
  composer = ImageOnly(IMAGE_DIM, text_dim, rngs=nnx.Rngs(0))
  image = random(BATCH, IMAGE_DIM)
  np.testing.assert_array_equal(composer(jnp.asarray(image), jnp.asarray(random(BATCH, text_dim))), image)


def test_text_only_ignores_the_image():
  composer = TextOnly(IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))
  text = random(BATCH, IMAGE_DIM, seed=1)
  np.testing.assert_array_equal(composer(jnp.asarray(random(BATCH, IMAGE_DIM)), jnp.asarray(text)), text)


def test_text_only_brings_another_text_width_to_the_image_width():
  composer = shaken(TextOnly(IMAGE_DIM, 20, rngs=nnx.Rngs(0)))
  text = random(BATCH, 20, seed=1)
  expected = linear(composer.to_image_width.layer, text)
  np.testing.assert_allclose(
    composer(jnp.asarray(random(BATCH, IMAGE_DIM)), jnp.asarray(text)), expected, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tirg_last_conv(text_dim, side):
  composer = shaken(TirgLastConv(IMAGE_DIM, text_dim, rngs=nnx.Rngs(0)))
  maps, text = random(BATCH, side, side, IMAGE_DIM), random(BATCH, text_dim, seed=1)
  both = np.concatenate([maps, np.tile(text[:, None, None], (1, side, side, 1))], axis=-1)
  gate, residual = (
    convolve(part.out, relu(convolve(part.hidden, batch_norm(part.norm, both))))
    for part in (composer.gate, composer.residual)
  )
  expected = composer.gate_weight / (1 + np.exp(-gate)) * maps + composer.residual_weight * residual
  np.testing.assert_allclose(composer(jnp.asarray(maps), jnp.asarray(text)), expected, rtol=1e-4)


OF_FEATURES = [name for name, composer in COMPOSERS.items() if not composer.placeholder]


@pytest.mark.parametrize("name", OF_FEATURES)
def test_every_composer_takes_a_text_of_any_width(name, text_dim):
  image_dim = 2 * IMAGE_DIM if name == "magic_lens" else IMAGE_DIM  # it has eight heads
  composer = COMPOSERS[name](image_dim, text_dim, rngs=nnx.Rngs(0))
  composer.train()
  shape = (BATCH, 2, 2, image_dim) if composer.composes_maps else (BATCH, image_dim)
  text = jnp.asarray(random(BATCH, text_dim))
  composed = composer(jnp.asarray(random(*shape)), text, rngs=RowKeys(jax.random.key(0), jnp.arange(BATCH)))
  assert composed.shape == shape
  if "text_reconstruction" in composer.losses:
    assert composer.decode_image(composed, text).shape == shape
    assert composer.decode_text(composed).shape == text.shape


def test_magic_lens_refuses_a_width_that_its_heads_cannot_share():
  with pytest.raises(InputError, match=r"images have 12 numbers, expected a multiple of .*num_heads = 8"):
    COMPOSERS["magic_lens"](IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
  ("name", "weights"), [("tirg", (1.0, 10.0)), ("tirg_last_conv", (1.0, 10.0)), ("compose_ae", (10.0, 1.0))]
)
def test_learned_scalars_start_as_published(name, weights):
  composer = COMPOSERS[name](IMAGE_DIM, IMAGE_DIM, rngs=nnx.Rngs(0))
  names = ("linear_weight", "conv_weight") if name == "compose_ae" else ("gate_weight", "residual_weight")
  assert tuple(float(getattr(composer, weight)[...]) for weight in names) == weights


@pytest.mark.parametrize("name", COMPOSERS)
def test_a_composer_declares_the_options_that_it_is_built_with(name):
  keywords = [
    parameter.name
    for parameter in inspect.signature(COMPOSERS[name].__init__).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("placeholder_id", "rngs")
  ]
  assert list(COMPOSERS[name].options) == keywords


@pytest.mark.parametrize("name", OF_FEATURES)
def test_bfloat16_stays_near_and_what_is_learned_and_compared_is_float32(name):
  composer = COMPOSERS[name](16, TEXT_DIMS[1], rngs=nnx.Rngs(0))
  composer.eval()
  shape = (BATCH, 2, 2, 16) if composer.composes_maps else (BATCH, 16)
  reference, text = jnp.asarray(random(*shape)), jnp.asarray(random(BATCH, TEXT_DIMS[1], seed=1))

  class Maps(nnx.Module):
    def pool(self, maps):
      return maps.mean((1, 2))

  model = RetrievalModel(Maps(), Maps(), composer, empty_text=0)
  exact = model.compose(reference, text)
  composer.compute_in(jnp.dtype("bfloat16"))
  rounded = model.compose(reference, text)
  assert rounded.dtype == model.on_sphere(rounded).dtype == jnp.float32
  assert all(param.dtype == jnp.float32 for param in jax.tree.leaves(nnx.state(composer, nnx.Param)))
  learns = bool(jax.tree.leaves(nnx.state(composer, nnx.Param)))
  assert np.linalg.norm(rounded - exact) <= 3e-2 * np.linalg.norm(exact)
  assert learns == bool(np.linalg.norm(rounded - exact))
