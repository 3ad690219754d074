"""The two ways of BERT, in the model, the step, checkpoints and whole runs."""

import json

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.models.encoders.projected import Frozen
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.pretrained.bert import load_bert
from composeret_jax.pretrained.hub.tokenizer import read_pieces
from composeret_jax.pretrained.text_encoder import encode_texts, number_of_placeholder, open_texts
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.objective import encode_batch, weighted_losses
from composeret_jax.train_step.optimizers import build_optimizer, parameter_groups
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.model import build_model
from composeret_jax.training.run import open_run
from composeret_jax.training.train import evaluate, train
from data_pipelines.input_error import InputError
from tests.fakes import tiny_bert, tiny_tower

TEXTS = ["dark box", "light, and long", "is black", "medium sky"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tiny_bert.make(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def bert_config(config, folder):
  config.model.text_encoder.name = "bert"
  config.model.text_encoder.path = str(folder)
  config.batch_size = len(TEXTS)
  return config


def opened(config, **fields):
  with config.unlocked():
    config.model.text_encoder.update(fields)
  return open_texts(config.model.text_encoder, TEXTS[:3], TEXTS[2:], batch_size=3)


def built(config, **fields):
  """The model, and a batch of TEXTS that it can take."""
  texts = opened(config, **fields)
  pixels = np.random.default_rng(0).integers(0, 256, (2, len(TEXTS), 16, 16, 3)).astype(np.uint8)
  batch = {"reference": pixels[0], "target": pixels[1], texts.reader.batch_key: texts.reader.encode(TEXTS)}
  return build_model(config.model, texts.build_encoder, config.seed), jax.tree.map(jnp.asarray, batch)


def losses(config, model, batch):
  weights = config.model.loss_weights.to_dict()
  loss = LOSSES[config.loss].pair_loss(jax.random.key(0), len(TEXTS))
  rngs = [RowKeys(jax.random.key(seed), jnp.arange(len(TEXTS))) for seed in range(2)]

  def call(model, batch):
    features = encode_batch(model, batch, None, lambda images, _: images, rngs[0])
    return weighted_losses(model, *features, loss=loss, weights=weights, rngs=rngs[1])

  model.train()
  return nnx.jit(call)(model, batch)


@pytest.mark.parametrize("projection_dim", [0, 6])
def test_the_table_gives_the_losses_of_encoding_in_the_step(bert_config, projection_dim):
  frozen, rows = built(bert_config, fine_tune=False, projection_dim=projection_dim)
  in_step, tokens = built(bert_config, fine_tune=True, projection_dim=projection_dim)
  assert rows["text_rows"].tolist() == [0, 1, 2, 3]
  assert tokens["tokens"].shape[0] == len(TEXTS)
  for model in (frozen, in_step):
    assert model.text_encoder.feature_dim == (projection_dim or tiny_bert.CONFIG["hidden_size"])
  expected, actual = losses(bert_config, in_step, tokens), losses(bert_config, frozen, rows)
  assert actual.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(actual[name], value, rtol=1e-5, err_msg=name)


def test_rows_are_texts_whatever_the_order_and_the_batch(folder):
  bert, pieces = load_bert(folder, "last_mean_and_cls"), read_pieces(folder, "bert", 12)
  texts = ["long " * 20, "is", *TEXTS, ""]
  table = encode_texts(bert, pieces, texts, batch_size=3)
  alone = [encode_texts(bert, pieces, [text], batch_size=1)[0] for text in texts]
  np.testing.assert_allclose(table, alone, atol=1e-5)


def step_of(config, model):
  optimizer = build_optimizer(config)
  step = jax.jit(make_train_step(model, optimizer, config))
  return step, create_state(model, optimizer, config.seed)


def test_what_is_frozen_is_neither_trained_nor_kept(bert_config, tmp_path):
  model, batch = built(bert_config, projection_dim=6)
  step, state = step_of(bert_config, model)
  table = np.asarray(model.text_encoder.trunk.features[...])
  assert jax.tree.leaves(state.variables.frozen)[0].shape == table.shape == (1 + len(TEXTS), 8)  # the empty text, too
  assert set(state.variables.params["text_encoder"]) == {"projection"}
  trained, _ = step(state, batch)
  np.testing.assert_array_equal(jax.tree.leaves(trained.variables.frozen)[0], table)
  before, after = (s.variables.params["text_encoder"]["projection"]["kernel"] for s in (state, trained))
  assert np.abs(after - before).max() > 0

  kept = (state.variables.params, state.optimizer_state)
  assert not any(getattr(leaf, "shape", None) == table.shape for leaf in jax.tree.leaves(kept))
  with Checkpoints(tmp_path, bert_config, {"path": "a", "sha256": {}}) as checkpoints:
    checkpoints.save(1, trained)
    checkpoints.describe_latest()  # waits until it is written
    restored = checkpoints.restore(1, state)
  jax.tree.map(np.testing.assert_array_equal, restored.variables.params, trained.variables.params)
  np.testing.assert_array_equal(jax.tree.leaves(restored.variables.frozen)[0], table)
  metadata = [path.read_text() for path in (tmp_path / "checkpoints").rglob("*_METADATA")]
  assert any("projection" in text for text in metadata)
  assert not any("features" in text or "frozen" in text for text in metadata)


def test_fine_tuning_changes_berts_weights_at_the_trunks_rate(bert_config):
  model, batch = built(bert_config, fine_tune=True, projection_dim=6)
  assert not jax.tree.leaves(nnx.state(model, Frozen))
  step, state = step_of(bert_config, model)
  trained, _ = step(state, batch)
  before, after = (s.variables.params["text_encoder"]["trunk"] for s in (state, trained))
  changes = jax.tree.map(lambda old, new: float(np.abs(old - new).max()), before, after)
  assert changes["layers"][0]["attention"]["query"]["kernel"] > 0
  assert changes["embeddings"]["words"] > 0
  groups = parameter_groups(state.variables.params)["text_encoder"]
  assert set(jax.tree.leaves(groups["trunk"])) == {"trunk"}
  assert set(jax.tree.leaves(groups["projection"])) == {"rest"}


def test_the_lstm_has_nothing_frozen(config):
  model, _ = built(config)
  assert not jax.tree.leaves(nnx.state(model, Frozen))


def test_a_tokenizer_with_more_words_than_the_model_is_refused(bert_config, tmp_path):
  folder = tiny_bert.make(tmp_path)
  with (folder / "vocab.txt").open("a") as file:
    file.writelines(f"word{i}\n" for i in range(40))
  with pytest.raises(InputError, match="the tokenizer has ids up to 60, the model only 40"):
    opened(bert_config, path=str(folder))


def test_no_path_is_a_message(bert_config):
  with pytest.raises(InputError, match=r"config\.model\.text_encoder\.path is not set"):
    opened(bert_config, path="")


@pytest.mark.slow
def test_a_run_trains_resumes_and_evaluates(bert_config, tmp_path, capsys):
  folder = tiny_bert.make(tmp_path / "bert")
  bert_config.model.text_encoder.path = str(folder)
  bert_config.num_train_steps = 2
  train(bert_config, tmp_path / "run")
  bert_config.num_train_steps = 3
  train(bert_config, tmp_path / "run")
  lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert [line["step"] for line in lines if "train/total" in line] == [1, 2, 3]

  # Elsewhere, the same files are the same BERT; other weights are not.
  bert_config.model.text_encoder.path = str(tiny_bert.make(tmp_path / "copy"))
  capsys.readouterr()
  evaluate(bert_config, tmp_path / "run")
  assert "Step 3" in capsys.readouterr().out
  tiny_bert.make(tmp_path / "copy", seed=1)
  with pytest.raises(InputError, match=r"encoder: model\.safetensors of config\.model\.text_encoder\.path=.*copy"):
    evaluate(bert_config, tmp_path / "run")


def test_a_second_run_reads_what_the_first_has_encoded(bert_config, tmp_path, capsys):
  bert_config.data.prepared_dir = str(tmp_path / "prepared")
  folder = tiny_bert.make(tmp_path / "bert")

  def encodes(**fields):
    bert_config.model.text_encoder.update(path=str(folder), **fields)
    capsys.readouterr()
    run = open_run(bert_config, tmp_path / "run")
    return "encode texts" in capsys.readouterr().err, np.asarray(run.model.text_encoder.trunk.features[...])

  bert_config.model.text_encoder.pooling = "cls"
  encoded, table = encodes()
  assert encoded
  encoded, again = encodes(projection_dim=6)
  assert not encoded
  np.testing.assert_array_equal(again, table)
  encoded, mean = encodes(pooling="last_mean")
  assert encoded and np.abs(mean - table).max() > 0
  tiny_bert.make(folder, seed=1)
  encoded, other = encodes()
  assert encoded and np.abs(other - mean).max() > 0


@pytest.mark.parametrize(("kind", "num_words"), [("clip", 10), ("siglip", 1)])  # as long as any text; padded to that
def test_a_text_that_is_not_cut_needs_the_placeholder_however_long_it_is(tmp_path, kind, num_words):
  length = tiny_tower.MAX_LENGTH
  pieces = read_pieces(tiny_tower.make(tmp_path, kind), kind, length, padded=kind == "siglip")
  lacking = " ".join(["is"] * num_words)
  (ids,) = pieces.ids([lacking])
  assert len(ids) == length
  with pytest.raises(InputError, match=f"1 of 2 texts have no 'black' .*: '{lacking}'"):
    number_of_placeholder(pieces, "black", ["long black", lacking])
  number_of_placeholder(pieces, "black", ["is " * length + "black"])  # it is in what is cut off
