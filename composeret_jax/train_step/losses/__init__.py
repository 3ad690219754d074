"""The losses between composed features and targets, one a module, which the configuration names: each has a LOSS."""

import importlib
import pkgutil

from composeret_jax.train_step.loss import Loss

LOSSES: dict[str, Loss] = {
  module.name: importlib.import_module(f"{__name__}.{module.name}").LOSS for module in pkgutil.iter_modules(__path__)
}
