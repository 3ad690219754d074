"""The LSTM text encoder and its vocabulary against the original program."""

import json

from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.pretrained import original
from data_pipelines.texts.vocabulary import Vocabulary
from tests.parity import golden


@pytest.fixture(scope="module")
def numbers():
  return golden.load("text_lstm")


def test_token_ids(numbers):
  vocabulary = Vocabulary.from_texts(numbers["vocab_texts"].tolist())
  ids = [vocabulary.ids(text) for text in numbers["texts"].tolist()]
  assert ids == [json.loads(row) for row in numbers["token_ids"].tolist()]


def test_features(numbers):
  vocabulary_size, embedding_dim = numbers["param/embedding_layer.weight"].shape
  feature_dim = numbers["param/fc_output.1.bias"].size
  encoder = LstmTextEncoder(
    vocabulary_size=vocabulary_size, embedding_dim=embedding_dim, feature_dim=feature_dim, rngs=nnx.Rngs(0)
  )
  original.fill(golden.under(numbers, "param/"), original.lstm_slots(encoder))
  encoder.eval()
  vocabulary = Vocabulary.from_texts(numbers["vocab_texts"].tolist())
  tokens = jnp.asarray(vocabulary.encode(numbers["texts"].tolist()))
  np.testing.assert_allclose(encoder(tokens), numbers["output"], rtol=1e-5, atol=1e-6)
