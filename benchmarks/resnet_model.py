"""ResNet, LSTM and a composer, as the benchmarks of steps train them, built without what reads data sets."""

from flax import nnx
import jax.numpy as jnp
import ml_collections

from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.encoders.resnet import ResNet
from composeret_jax.models.retrieval_model import RetrievalModel


def build(config: ml_collections.ConfigDict, vocabulary_size: int, dim: int) -> RetrievalModel:
  """The model that `config` (the `model` part of a run's configuration) describes, with features of width `dim`."""
  rngs, trunk = nnx.Rngs(0), config.image_encoder
  image_encoder = ResNet(
    width=trunk.width,
    stage_sizes=trunk.stage_sizes,
    block=trunk.block,
    dtype=jnp.dtype(trunk.dtype),
    feature_dim=dim,
    rngs=rngs,
  )
  text_encoder = LstmTextEncoder(vocabulary_size=vocabulary_size, embedding_dim=dim, feature_dim=dim, rngs=rngs)
  composer = COMPOSERS[config.composer](dim, dim, rngs=rngs)
  composer.compute_in(jnp.dtype(config.composer_dtype))
  return RetrievalModel(image_encoder, text_encoder, composer, radius=config.radius, train_radius=config.train_radius)
