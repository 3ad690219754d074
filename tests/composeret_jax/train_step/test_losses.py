import functools
import inspect
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from composeret_jax.train_step import losses
from composeret_jax.train_step.candidates import ABSENT, Candidates, NO_ANSWER, Queries
from composeret_jax.train_step.hard_negatives import HardNegatives, joined, no_negatives
from composeret_jax.train_step.losses.batch_based_classification import batch_classification_loss
from composeret_jax.train_step.losses.info_nce import info_nce_loss
from composeret_jax.train_step.losses.sigmoid import sigmoid_loss
from composeret_jax.train_step.losses.soft_triplet import soft_triplet_loss
from composeret_jax.train_step.objective import reconstruction_loss
from composeret_jax.train_step.shard import Shard, WHOLE_BATCH
from composeret_jax.train_step.triplets import sample_triplets


def features(batch, dim=5, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(2, batch, dim)).astype(np.float32)


def test_batch_classification_is_the_mean_of_each_querys_cross_entropy():
  composed, targets = features(4)
  expected = 0.0
  for i in range(4):
    scores = [float(composed[i] @ targets[j]) for j in range(4)]
    expected += np.log(sum(np.exp(scores))) - scores[i]
  loss = batch_classification_loss(jnp.asarray(composed), jnp.asarray(targets))
  np.testing.assert_allclose(loss, expected / 4, rtol=1e-5)


def hard_negatives():
  """Two of each of four targets; some show what another target does."""
  labels = np.array([[1, 9], [0, 3], [8, 1], [0, 0]])
  mined = np.random.default_rng(5).normal(size=(4, 2, 5)).astype(np.float32)
  return mined, labels, np.array([0, 1, 2, 0])


def test_hard_negatives_join_the_sum_unless_they_show_what_the_querys_target_does():
  composed, targets = features(4)
  mined, labels, target_labels = hard_negatives()
  expected = 0.0
  for i in range(4):
    wrong = [mined[j, n] for j in range(4) for n in range(2) if labels[j, n] != target_labels[i]]
    scores = np.array([composed[i] @ other for other in [*targets, *wrong]], np.float64)
    expected += np.log(np.exp(scores).sum()) - scores[i]
  negatives = HardNegatives(*map(jnp.asarray, (mined, labels, target_labels)))
  loss = batch_classification_loss(jnp.asarray(composed), jnp.asarray(targets), negatives=negatives)
  np.testing.assert_allclose(loss, expected / 4, rtol=1e-5)


def test_info_nce_picks_from_hard_negatives_in_the_first_direction():
  composed, targets = map(jnp.asarray, features(4))
  negatives = HardNegatives(*map(jnp.asarray, hard_negatives()))
  forth, both = (loss(composed, targets, negatives=negatives) for loss in (batch_classification_loss, info_nce_loss))
  back = batch_classification_loss(targets, composed)
  np.testing.assert_allclose(both, (forth + back) / 2, rtol=1e-6)


def test_hard_negatives_are_wrong_pairs_of_the_sigmoid_loss_unless_they_show_what_the_target_does():
  composed, targets = features(4)
  mined, labels, target_labels = hard_negatives()
  expected, _ = sigmoid_by_hand(composed, targets, -1.0)
  wrong = [(i, j, n) for i in range(4) for j in range(4) for n in range(2) if labels[j, n] != target_labels[i]]
  expected += sum(np.log1p(np.exp(composed[i] @ mined[j, n] - 1.0)) for i, j, n in wrong) / 4
  negatives = HardNegatives(*map(jnp.asarray, (mined, labels, target_labels)))
  loss = sigmoid_loss(jnp.asarray(composed), jnp.asarray(targets), jnp.array(-1.0), negatives=negatives)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_candidates_of_the_targets_label_are_no_wrong_answers():
  """Three targets of one label, and an image of another: each query has its own target and the other image."""
  candidates = Candidates(jnp.eye(4), jnp.array([5, 5, 5, 6]), batch_size=3)
  logits = candidates.logits(Queries(jnp.ones((2, 4)), jnp.array([1, 2]), jnp.array([5, 5])))
  no = NO_ANSWER
  np.testing.assert_array_equal(logits, np.array([[no, 1, no, 1], [no, no, 1, 1]], np.float32))


SHARDS = 4
TAKING_NEGATIVES = [name for name, loss in losses.LOSSES.items() if loss.takes_hard_negatives]


def of_shards(name, num_rows, block_rows, num_negatives):
  """(the value, the gradients) of a loss on the whole batch and on four equal parts of it, each on its own device."""
  loss = losses.LOSSES[name]
  rng = np.random.default_rng(1)
  batch = SHARDS * num_rows
  rows = [jnp.asarray(rng.normal(size=(batch, 5)), jnp.float32) for _ in range(2)]
  if num_negatives:
    rows.append(jnp.asarray(rng.normal(size=(batch, num_negatives, 5)), jnp.float32))
  labels = [jnp.asarray(rng.integers(0, 4, size)) for size in ((batch, 2), batch)]

  def value(shard, block_rows, rows, labels):
    composed, targets, *mined = rows
    given = {"negatives": HardNegatives(mined[0], *labels, masks_targets=True)} if mined else {}
    if loss.has_bias:
      given["bias"] = jnp.array(-1.0)
    if loss.draws_triplets:
      given["triplets"] = sample_triplets(jax.random.key(0), batch, shard.row_numbers(len(composed)))
    return shard.mean(loss.function(composed, targets, block_rows=block_rows, shard=shard, **given))

  def parted(rows):
    by_device = jax.tree.map(lambda a: a.reshape(SHARDS, -1, *a.shape[1:]), (rows, labels))
    return jax.vmap(lambda own: value(Shard("devices"), block_rows, *own), axis_name="devices")(by_device)

  whole = jax.jit(jax.value_and_grad(lambda rows: value(WHOLE_BATCH, 0, rows, labels)))(rows)
  values, gradients = jax.jit(lambda rows: (parted(rows), jax.grad(lambda rows: parted(rows).mean())(rows)))(rows)
  assert (values == values[0]).all()
  return whole, (values[0], gradients)


@pytest.mark.parametrize("block_rows", [0, 2])
@pytest.mark.parametrize(
  "name, num_negatives", [*((name, 0) for name in losses.LOSSES), *((name, 2) for name in TAKING_NEGATIVES)]
)
def test_each_devices_own_rows_give_the_loss_and_gradients_of_the_batch(name, num_negatives, block_rows):
  (expected, wanted), (value, found) = of_shards(name, 5, block_rows, num_negatives)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  for gradient, expected_gradient in zip(found, wanted, strict=True):
    assert np.isfinite(gradient).all() and np.abs(expected_gradient).max() > 0.001
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, loss in losses.LOSSES.items() if loss.on_sphere])
def test_every_product_is_in_full_precision_and_every_gather_in_float32(name):
  """Products of 8-bit fractions, the default of some devices, have errors up to 0.05 where logits are 100."""
  loss = losses.LOSSES[name]
  given = {"bias": jnp.array(0.0)} if loss.has_bias else {}
  own = jnp.ones((2, 4, 5), jnp.bfloat16)

  def value(composed, targets):
    more = {"triplets": jnp.zeros((3, 3), int)} if loss.draws_triplets else {}
    return loss.function(composed, targets, shard=Shard("devices"), **given, **more)

  gradient = jax.grad(value, argnums=(0, 1))
  program = str(jax.make_jaxpr(gradient, axis_env=[("devices", 2)])(*own))
  products = [line for line in program.splitlines() if "dot_general[" in line]
  assert len(products) == (0 if loss.draws_triplets else 3)
  assert program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") + program.count(
    "precision=Precision.HIGHEST"
  ) == len(products)
  gathers = [line for line in program.splitlines() if "all_gather[" in line]
  assert gathers and all("f32" in line for line in gathers)


@pytest.mark.parametrize("block_rows", [1, 3])
def test_blocks_change_nothing_with_hard_negatives(block_rows):
  composed, targets = map(jnp.asarray, features(4))
  mined, *labels = map(jnp.asarray, hard_negatives())

  def loss(composed, targets, mined, rows):
    negatives = HardNegatives(mined, *labels)
    return batch_classification_loss(composed, targets, rows, negatives=negatives)

  gradient = jax.value_and_grad(loss, argnums=(0, 1, 2))
  arrays = composed, targets, mined
  (expected, expected_gradients), (value, gradients) = (gradient(*arrays, rows) for rows in (0, block_rows))
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  for found, wanted in zip(gradients, expected_gradients, strict=True):
    assert np.isfinite(found).all() and np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_info_nce_is_the_mean_of_rows_and_columns():
  composed, targets = features(4)
  scores = composed @ targets.T
  rows, columns = (
    np.mean([np.log(np.exp(scores[i] if way == 0 else scores[:, i]).sum()) - scores[i, i] for i in range(4)])
    for way in range(2)
  )
  assert abs(rows - columns) > 0.01
  loss = info_nce_loss(jnp.asarray(composed), jnp.asarray(targets))
  np.testing.assert_allclose(loss, (rows + columns) / 2, rtol=1e-5)


def sigmoid_by_hand(composed, targets, bias):
  """The loss, and its gradients for the three arguments."""
  batch = len(composed)
  logits = composed @ targets.T + bias
  signs = 2 * np.eye(batch) - 1
  slopes = -signs / (1 + np.exp(signs * logits)) / batch
  return np.log1p(np.exp(-signs * logits)).sum() / batch, (slopes @ targets, slopes.T @ composed, slopes.sum())


@pytest.mark.parametrize("bias, block_rows", [(-2.0, 0), (1.0, 0), (-2.0, 3)])
def test_the_sigmoid_loss_and_its_gradients_are_those_worked_out_by_hand(bias, block_rows):
  composed, targets = features(4)
  expected, expected_gradients = sigmoid_by_hand(composed, targets, bias)
  arguments = jnp.asarray(composed), jnp.asarray(targets), jnp.array(bias)
  of = jax.value_and_grad(lambda *arrays: sigmoid_loss(*arrays, block_rows=block_rows), argnums=(0, 1, 2))
  loss, gradients = of(*arguments)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for gradient, by_hand in zip(gradients, expected_gradients, strict=True):
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-4, atol=1e-6)


def test_info_nces_gradient_is_the_one_worked_out_by_hand():
  composed, targets = features(4)
  exponentials = np.exp(composed @ targets.T)
  forth, back = (exponentials / exponentials.sum(axis=axis, keepdims=True) - np.eye(4) for axis in (1, 0))
  gradient = jax.grad(info_nce_loss)(jnp.asarray(composed), jnp.asarray(targets))
  np.testing.assert_allclose(gradient, (forth + back) @ targets / 8, rtol=1e-4, atol=1e-6)


def test_soft_triplet_is_the_mean_over_triplets_in_a_loop():
  composed, targets = features(3)
  triplets = [(0, 3, 1), (4, 1, 2), (5, 2, 0)]
  vectors = [*composed, *targets]
  terms = []
  for anchor, positive, negative in triplets:
    to_positive = np.sum((vectors[anchor] - vectors[positive]) ** 2)
    to_negative = np.sum((vectors[anchor] - vectors[negative]) ** 2)
    terms.append(np.log(1 + np.exp(to_positive - to_negative)))
  loss = soft_triplet_loss(jnp.asarray(composed), jnp.asarray(targets), jnp.asarray(triplets))
  np.testing.assert_allclose(loss, np.mean(terms), rtol=1e-5)


def soft_triplets_by_hand(composed, targets, triplets, others, labels, target_labels, masks_targets):
  """The mean over drawn and given triplets, one after the other; a right image makes a triplet of no loss."""
  vectors = np.concatenate([composed, targets]).astype(np.float64)

  def term(anchor, positive, negative):
    return np.log1p(np.exp(np.sum((anchor - positive) ** 2) - np.sum((anchor - negative) ** 2)))

  terms = []
  for anchor, positive, negative in np.asarray(triplets):
    is_right = masks_targets and target_labels[anchor % len(targets)] == target_labels[negative % len(targets)]
    terms.append(0 if is_right else term(vectors[anchor], vectors[positive], vectors[negative]))
  for row, own in enumerate(others):
    for other, label in zip(own, labels[row], strict=True):
      is_right = label in (target_labels[row], ABSENT)
      terms.append(0 if is_right else term(composed[row], targets[row], other))
  return np.mean(terms)


@pytest.mark.parametrize("block_rows", [0, 1, 3])
@pytest.mark.parametrize("masks_targets", [False, True])
def test_each_given_negative_is_one_more_triplet_of_the_soft_triplet_loss(block_rows, masks_targets):
  composed, targets = features(4)
  given, _, target_labels = hard_negatives()
  labels = np.array([[1, 9], [0, 3], [8, ABSENT], [0, -1]])  # the last query's first is right
  triplets = sample_triplets(jax.random.key(2), 4)
  expected = soft_triplets_by_hand(composed, targets, triplets, given, labels, target_labels, masks_targets)
  arrays = map(jnp.asarray, (given, labels, target_labels))
  negatives = HardNegatives(*arrays, masks_targets=masks_targets)
  loss = soft_triplet_loss(*map(jnp.asarray, (composed, targets)), triplets, block_rows, negatives=negatives)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_soft_triplet_stays_finite_where_the_exponential_does_not():
  composed, targets = jnp.full((2, 4), 100.0), jnp.full((2, 4), -100.0)
  loss = soft_triplet_loss(composed, targets, jnp.array([[0, 2, 1]]))
  assert float(loss) == pytest.approx(4 * 200.0**2)


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_every_row_is_an_anchor_with_its_partner_and_distinct_others(batch):
  triplets = np.asarray(sample_triplets(jax.random.key(0), batch))
  per_anchor = min(3, 2 * batch - 2)
  assert triplets.shape == (2 * batch * per_anchor, 3)
  for anchor, group in itertools.groupby(triplets.tolist(), key=lambda row: row[0]):
    group = list(group)
    partner = (anchor + batch) % (2 * batch)
    negatives = [negative for _, _, negative in group]
    assert {positive for _, positive, _ in group} == {partner}
    assert len(set(negatives)) == len(negatives) == per_anchor
    assert not {anchor, partner} & set(negatives)
    assert set(negatives) <= set(range(2 * batch))


def test_negatives_are_uniform_over_the_others():
  draws = jax.vmap(lambda key: sample_triplets(key, 4))(jax.random.split(jax.random.key(1), 2000))
  negatives_of_row_1 = np.asarray(draws)[:, 3:6, 2].ravel()
  counts = np.bincount(negatives_of_row_1, minlength=8)
  assert counts[[1, 5]].tolist() == [0, 0]
  others = counts[[0, 2, 3, 4, 6, 7]]
  assert np.abs(others / others.sum() - 1 / 6).max() < 0.02  # five standard deviations


def test_a_batch_of_one_has_no_negatives():
  with pytest.raises(ValueError, match="batch size 1"):
    sample_triplets(jax.random.key(0), 1)


def test_reconstruction_is_the_mean_squared_error():
  loss = reconstruction_loss(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 2.0]]))
  assert float(loss) == 2.0


def pair_loss(name, batch, block_rows):
  """A loss of composed features and targets, whole (0) or in blocks."""
  if name == "batch":
    return lambda composed, targets: batch_classification_loss(composed, targets, block_rows)
  if name == "info_nce":
    return lambda composed, targets: info_nce_loss(composed, targets, block_rows)
  if name == "sigmoid":
    return lambda composed, targets: sigmoid_loss(composed, targets, jnp.array(-1.0), block_rows)
  triplets = sample_triplets(jax.random.key(0), batch)
  return lambda composed, targets: soft_triplet_loss(composed, targets, triplets, block_rows)


@pytest.mark.parametrize("name", ["batch", "triplet", "info_nce", "sigmoid"])
@pytest.mark.parametrize("batch, block_rows", [(10, 4), (8, 4), (8, 1), (6, 100)])
def test_blocks_change_neither_loss_nor_gradients(name, batch, block_rows):
  composed, targets = map(jnp.asarray, features(batch))
  losses_of = (pair_loss(name, batch, rows) for rows in (0, block_rows))
  whole, blocked = (jax.jit(jax.value_and_grad(loss, argnums=(0, 1))) for loss in losses_of)
  (expected, expected_gradients), (value, gradients) = whole(composed, targets), blocked(composed, targets)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
    assert np.abs(expected_gradient).max() > 0.01
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["batch", "triplet", "info_nce", "sigmoid"])
def test_blocks_never_hold_the_big_arrays(name):
  batch, dim, block_rows = 512, 64, 16
  shape = jax.ShapeDtypeStruct((batch, dim), jnp.float32)

  def temporary_bytes(rows):
    gradient = jax.jit(jax.grad(pair_loss(name, batch, rows), argnums=(0, 1)))
    return gradient.lower(shape, shape).compile().memory_analysis().temp_size_in_bytes

  big = 4 * 6 * batch * dim if name == "triplet" else 4 * batch * batch
  assert temporary_bytes(0) >= big
  assert temporary_bytes(block_rows) < big


def test_each_loss_is_a_module_that_its_name_names():
  modules = {path.stem for path in pathlib.Path(losses.__file__).parent.glob("*.py")} - {"__init__"}
  assert (
    set(losses.LOSSES)
    == modules
    == {
      "batch_based_classification",
      "info_nce",
      "mean_squared_error",
      "sigmoid",
      "soft_triplet",
    }
  )


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_takes_the_keywords_that_it_declares(name):
  loss = losses.LOSSES[name]
  given = {"bias": loss.has_bias, "triplets": loss.draws_triplets, "negatives": loss.takes_hard_negatives}
  keywords = list(inspect.signature(loss.function).parameters)[2:]
  assert sorted(keywords) == sorted(
    ["block_rows", "shard", *(keyword for keyword, is_taken in given.items() if is_taken)]
  )


def masked_by_hand(composed, targets, target_labels, others, other_labels):
  """Batch classification, one query after the other, without what shows the same as its target."""
  total = 0.0
  for i, query in enumerate(composed):
    wrong = [target for j, target in enumerate(targets) if target_labels[j] != target_labels[i]]
    wrong += [
      other for other, label in zip(others, other_labels, strict=True) if label not in (target_labels[i], ABSENT)
    ]
    scores = np.array([query @ image for image in [targets[i], *wrong]], np.float64)
    total += np.log(np.exp(scores).sum()) - scores[0]
  return total / len(composed)


@pytest.mark.parametrize("block_rows", [0, 1])
def test_targets_of_one_label_and_absent_images_are_no_negatives_and_gradients_are_finite(block_rows):
  composed, targets = map(jnp.asarray, features(4))
  labels, other_labels = np.array([0, 0, 0, 1]), np.array([[0, ABSENT], [1, 7], [ABSENT, ABSENT], [0, 1]])
  others = jnp.asarray(np.random.default_rng(5).normal(size=(4, 2, 5)), jnp.float32)
  given = HardNegatives(others, jnp.asarray(other_labels), jnp.asarray(labels))
  negatives = joined([given, no_negatives({"target_label": jnp.asarray(labels)}, 5)])
  loss = batch_classification_loss(composed, targets, block_rows, negatives=negatives)
  expected = masked_by_hand(composed, targets, labels, others.reshape(-1, 5), other_labels.ravel())
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for name in TAKING_NEGATIVES:
    bias = {"bias": jnp.array(0.0)} if losses.LOSSES[name].has_bias else {}
    drawn = {"triplets": sample_triplets(jax.random.key(0), 4)} if losses.LOSSES[name].draws_triplets else {}
    given = {"block_rows": block_rows, "negatives": negatives} | bias | drawn
    function = functools.partial(losses.LOSSES[name].function, **given)
    for gradient in jax.jit(jax.grad(function, argnums=(0, 1)))(composed, targets):
      assert np.isfinite(gradient).all()
