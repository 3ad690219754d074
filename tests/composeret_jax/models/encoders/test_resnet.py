from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.models.encoders.resnet import normalise, ResNet


def test_resnet18_has_torchvisions_size_and_strides():
  encoder = nnx.eval_shape(lambda: ResNet(width=64, stage_sizes=(2, 2, 2, 2), feature_dim=512, rngs=nnx.Rngs(0)))
  num_weights = sum(value.size for value in jax.tree.leaves(nnx.state(encoder.trunk, nnx.Param)))
  assert num_weights == 11_689_512 - 513_000  # torchvision's ResNet-18 less its classifier
  pixels = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  assert nnx.eval_shape(lambda encoder, pixels: encoder.trunk(pixels), encoder, pixels).shape == (1, 2, 2, 512)
  assert nnx.eval_shape(lambda encoder, pixels: encoder(pixels), encoder, pixels).shape == (1, 512)


def test_pixels_are_normalised_by_colour():
  pixels = jnp.array([[[[255, 0, 51]]]], jnp.uint8)
  expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
  np.testing.assert_allclose(normalise(pixels)[0, 0, 0], expected, rtol=1e-5)


def test_bfloat16_features_are_float32_and_close():
  pixels = jnp.asarray(np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3)), jnp.uint8)
  sizes = {"width": 8, "stage_sizes": (1, 1), "feature_dim": 16}
  exact = ResNet(**sizes, rngs=nnx.Rngs(0))(pixels)
  rounded = ResNet(**sizes, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(pixels)
  assert rounded.dtype == jnp.float32
  assert 0 < np.abs(rounded - exact).max() < 0.1
