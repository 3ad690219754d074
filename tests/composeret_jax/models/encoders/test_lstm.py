from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np

from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.layers.dropout import RowKeys


def encoder():
  return LstmTextEncoder(vocabulary_size=5, embedding_dim=3, feature_dim=4, rngs=nnx.Rngs(0))


def test_padding_does_not_change_a_feature():
  model = encoder()
  model.eval()
  short = model(jnp.array([[1, 2]]))
  padded = model(jnp.array([[1, 2, -1, -1], [4, 3, 2, 1]]))
  np.testing.assert_allclose(padded[0], short[0], rtol=1e-6)


def test_a_text_without_words_is_one_unknown_word():
  model = encoder()
  model.eval()
  np.testing.assert_allclose(model(jnp.array([[-1, -1]])), model(jnp.array([[0, -1]])), rtol=1e-6)


def test_dropout_acts_in_training_only():
  model = encoder()
  model.train()
  tokens = jnp.ones((64, 2), jnp.int32)
  assert len(np.unique(np.asarray(model(tokens, rngs=RowKeys(jax.random.key(0), jnp.arange(len(tokens))))), axis=0)) > 1
  model.eval()
  assert len(np.unique(np.asarray(model(tokens)), axis=0)) == 1
