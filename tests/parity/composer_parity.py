"""What the parity tests of the composers share: outputs, losses, gradients and SGD steps against the original."""

from collections.abc import Mapping
import dataclasses
import functools

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from composeret_jax.models.composers import Composer
from composeret_jax.models.layers.dropout import Dropout
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained import original
from composeret_jax.train_step.losses.batch_based_classification import batch_classification_loss
from composeret_jax.train_step.losses.soft_triplet import soft_triplet_loss
from composeret_jax.train_step.objective import weighted_losses
from composeret_jax.train_step.optimizers import coupled_sgd
from tests.parity import golden

LOSSES = ("batch_based_classification", "soft_triplet")
WEIGHTS = {"main": 1.0, "image_reconstruction": 0.1, "text_reconstruction": 0.1, "rotational_symmetry": 0.01}
ORIGINAL_TERMS = {
  "main": "main",
  "image_reconstruction": "decoded_image",
  "text_reconstruction": "decoded_text",
  "rotational_symmetry": "rotational_symmetry",
  "total": "total",
}


@dataclasses.dataclass(frozen=True)
class ComposerParity:
  """One composer of ours and the golden numbers of its original; every shape comes from the file."""

  numbers: dict[str, np.ndarray]
  composer_class: type[Composer]

  @classmethod
  def load(cls, name: str, composer_class: type[Composer]) -> "ComposerParity":
    """Reads golden file `name`; skips the test when it is not there."""
    return cls(golden.load(name), composer_class)

  @functools.cached_property
  def inputs(self) -> tuple[jax.Array, ...]:
    """Reference image features, target image features, text features."""
    return tuple(jnp.asarray(self.numbers[f"in/{name}"]) for name in ("image_source", "image_target", "text"))

  def model(self, mode: str) -> RetrievalModel:
    """The model with the original's weights, without dropout, in mode `eval` or `train`."""
    image, _, text = self.inputs
    composer = self.composer_class(image.shape[1], text.shape[1], rngs=nnx.Rngs(0))
    model = RetrievalModel(nnx.Module(), nnx.Module(), composer)
    original.fill(golden.under(self.numbers, "param/"), original.composer_slots(model))
    model.set_attributes(Dropout, rate=0.0, raise_if_not_found=False)
    model.train() if mode == "train" else model.eval()
    return model

  def check_outputs(self, mode: str, outputs: Mapping[str, jax.Array]) -> None:
    """All outputs of `mode` that the file has, and no others, to 1e-5 of the largest value."""
    expected = golden.under(self.numbers, f"{mode}/")
    assert outputs.keys() == expected.keys()
    for name, value in outputs.items():
      error = np.abs(value - expected[name]).max() / np.abs(expected[name]).max()
      assert error < 1e-5, f"{name}: {error}"

  def check_losses_and_gradient_norms(self, loss: str) -> None:
    """Every loss term, and the norm of the total's gradient for each original parameter."""
    graphdef, params, stats = nnx.split(self.model("train"), nnx.Param, nnx.BatchStat)
    gradients, terms = jax.grad(self._total_loss(graphdef, stats, loss), has_aux=True)(params)
    expected_terms = golden.under(self.numbers, f"loss/{loss}/")
    assert {ORIGINAL_TERMS[name] for name in terms} == expected_terms.keys()
    for name, value in terms.items():
      np.testing.assert_allclose(value, expected_terms[ORIGINAL_TERMS[name]], rtol=1e-5, err_msg=name)
    expected_norms = golden.under(self.numbers, f"grad_norm/{loss}/")
    norms = _gradient_norms(graphdef, gradients, stats)
    assert norms.keys() == expected_norms.keys()
    for name, norm in norms.items():
      # A bias right before batch norm has no gradient but rounding.
      np.testing.assert_allclose(norm, expected_norms[name], rtol=1e-4, atol=1e-5, err_msg=name)

  def check_sgd_steps(self, loss: str) -> None:
    """The total loss over SGD steps on the one batch: only right when every parameter, the radius too, is trained.

    The file's `normalization_scale` is left out: it holds the scale before the steps.
    """
    graphdef, params, stats = nnx.split(self.model("train"), nnx.Param, nnx.BatchStat)
    optimizer = coupled_sgd(learning_rate=0.01, momentum=0.9, weight_decay=5e-5)
    optimizer_state = optimizer.init(params)
    gradient = jax.jit(jax.grad(self._total_loss(graphdef, stats, loss), has_aux=True))
    expected = self.numbers[f"sgd/{loss}/total_loss"]
    totals = []
    for _ in expected:
      gradients, terms = gradient(params)
      totals.append(terms["total"])
      updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
      params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(totals, expected, rtol=1e-3)

  def _total_loss(self, graphdef, stats, loss):
    reference, target, text = self.inputs
    weights = {name: weight * (name in self.composer_class.losses) for name, weight in WEIGHTS.items()}

    def function(params):
      model = nnx.merge(graphdef, params, stats, copy=True)
      terms = weighted_losses(model, reference, target, text, loss=self._pair_loss(loss), weights=weights)
      return terms["total"], terms

    return function

  def _pair_loss(self, name):
    if name == "batch_based_classification":
      return batch_classification_loss
    triplets = jnp.asarray(self.numbers["in/triplets"])
    return lambda composed, targets: soft_triplet_loss(composed, targets, triplets)


def _gradient_norms(graphdef, gradients, stats):
  """The gradient's Euclidean norm for each original name."""
  slots = original.composer_slots(nnx.merge(graphdef, gradients, stats))
  parameters = {name: slot for name, slot in slots.items() if "running_" not in name}
  return {name: np.sqrt(sum(np.sum(np.square(v[...])) for v in slot.variables)) for name, slot in parameters.items()}
