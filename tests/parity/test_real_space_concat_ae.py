"""RealSpaceConcatAE, its losses, gradients and SGD steps against the original program."""

import pytest

from composeret_jax.models.composers.compose_ae import RealSpaceConcatAE
from tests.parity.composer_parity import ComposerParity, LOSSES


@pytest.fixture(scope="module")
def parity():
  return ComposerParity.load("real_space_concat_ae", RealSpaceConcatAE)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs(parity, mode):
  model = parity.model(mode)
  reference, _, text = parity.inputs
  composed = model.compose(reference, text)
  outputs = {
    "composed": composed,
    "decoded_image": model.composer.decode_image(composed, text),
    "decoded_text": model.composer.decode_text(composed),
  }
  parity.check_outputs(mode, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradient_norms(parity, loss):
  parity.check_losses_and_gradient_norms(loss)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_sgd_steps(parity, loss):
  parity.check_sgd_steps(loss)
