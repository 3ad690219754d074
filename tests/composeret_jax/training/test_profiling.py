import jax
import jax.numpy as jnp
import pytest

from composeret_jax.training.profiling import parse_steps, StepTrace
from data_pipelines.buckets.addresses import objects
from data_pipelines.paths import path_or_address


def traces(folder):
  return list(folder.rglob("*.xplane.pb"))


def run_steps(steps, last_step, folder):
  """Which steps were traced."""
  traced = []
  with StepTrace(parse_steps(steps), folder) as trace:
    for step in range(1, last_step + 1):
      trace.before(step)
      output = jax.jit(jnp.sin)(1.0 * step)
      traced += [step] if trace._running else []
      trace.after(step, output)
  return traced


def test_the_named_steps_are_in_one_trace(tmp_path):
  assert run_steps("2:4", 5, tmp_path) == [2, 3]
  assert len(traces(tmp_path)) == 1


def test_a_run_that_ends_earlier_leaves_its_trace(tmp_path):
  assert run_steps("3:9", 4, tmp_path) == [3, 4]
  assert len(traces(tmp_path)) == 1


def test_nothing_is_traced_unless_asked_for(tmp_path):
  assert run_steps("", 3, tmp_path) == run_steps("7:9", 3, tmp_path) == []
  assert not traces(tmp_path)


@pytest.mark.parametrize("text", ["10", "15:10", "10:10", "0:3", "10-15", ":5", "a:b"])
def test_anything_but_a_slice_is_refused(text):
  with pytest.raises(ValueError, match=r"is not FIRST:STOP, as 10:15"):
    parse_steps(text)


def test_a_trace_is_copied_to_a_bucket(bucket):
  folder = path_or_address(f"{bucket}/run/profile", "--workdir")
  assert run_steps("2:4", 5, folder) == [2, 3]
  assert len([name for name in objects(folder) if name.endswith(".xplane.pb")]) == 1
