"""TIRG, its losses, gradients and SGD steps against the original program."""

import pytest

from composeret_jax.models.composers.tirg import Tirg
from tests.parity.composer_parity import ComposerParity, LOSSES


@pytest.fixture(scope="module")
def parity():
  return ComposerParity.load("tirg", Tirg)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs(parity, mode):
  reference, _, text = parity.inputs
  parity.check_outputs(mode, {"composed": parity.model(mode).compose(reference, text)})


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradient_norms(parity, loss):
  parity.check_losses_and_gradient_norms(loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_sgd_steps(parity, loss):
  parity.check_sgd_steps(loss)
