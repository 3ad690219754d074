"""Runs of one program are compiled once, and are what launch.py trains."""

import pytest

from benchmarks.one_program import read_config, Trained
from benchmarks.recipes import programs
from benchmarks.runs import parse_run
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from composeret_jax.training.train import train

TINY = (
  "--config.data.image_size=16 --config.data.num_workers=0 --config.model.image_encoder.width=4 "
  "--config.model.image_encoder.stage_sizes=(1,) --config.model.image_encoder.feature_dim=16 "
  "--config.model.text_encoder.embedding_dim=8 --config.model.text_encoder.feature_dim=8 --config.batch_size=8 "
  "--config.num_train_steps=4 --config.log_every_steps=2 --config.eval_every_steps=4 --config.checkpoint_every_steps=4 "
  "--config.eval.batch_size=8 --config.train.steps_per_call=2 --config.data.placement=device"
)


def test_seeds_and_siblings_are_of_one_program():
  texts = ("a | c.py:m | 0,1", "b | c.py:m --config.data.siblings_per_batch=4", "c | c.py:n")
  found = programs([parse_run(text, ["0"]) for text in texts], done={("a", 1), ("c", 0)})
  assert [[(run.title, run.seeds) for run in program.runs] for program in found] == [[("a", (0,)), ("b", (0,))]]


@pytest.mark.slow  # several trainings
@pytest.mark.parametrize("num_siblings", [0, 4])
def test_a_run_is_what_launch_trains(raw_mit_states, prepared, tmp_path, num_siblings):
  own = f"--config.data.dir={raw_mit_states} --config.data.prepared_dir={prepared}"
  arguments = (
    f"--config=configs/mit_states.py:tirg {TINY} {own} --config.data.siblings_per_batch={num_siblings}".split()
  )
  trained = Trained(arguments, tmp_path / "program")
  trained.metrics(arguments, 5)  # another seed before it changes nothing
  config = read_config(arguments)
  config.seed = 1
  train(config, tmp_path / "launched")
  run = open_run(config, tmp_path / "launched")
  expected = run.evaluator(evaluated_variables(newest_state(run))).metrics
  assert trained.metrics(arguments, 1) == pytest.approx(dict(expected))
