"""A bundle of a tiny run, and what its evaluation compared."""

from composeret_jax.export.bundle import export
from composeret_jax.serving.bundle import load
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train


def exported(config, folder):
  """A bundle of a run of two steps; the run, and what its evaluation compared."""
  config.num_train_steps = 2
  train(config, folder / "run")
  export(config, folder / "run", folder / "bundle")
  run = open_run(config, folder / "run")
  state = newest_state(run)
  return load(folder / "bundle"), run, run.evaluator.features(evaluated_variables(state))


def names(folder):
  return sorted(path.name for path in folder.iterdir())
