"""A start after the first one reads its programs."""

from collections import Counter

import jax
from jax.experimental.compilation_cache import compilation_cache
import pytest

from composeret_jax.training.train import train
from composeret_jax.training.workdir.compiled_programs import keep_compiled_programs
from data_pipelines.input_error import InputError

OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def counted():
  """Counts the cache's events while a test runs, and gives the session its own cache back."""
  before, events = {name: getattr(jax.config, name) for name in OPTIONS}, Counter()
  jax.monitoring.register_event_listener(count := lambda event, **_: events.update([event]))
  yield events
  jax.monitoring.unregister_event_listener(count)
  for name, value in before.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.mark.slow  # two whole runs, one without a cache
def test_a_second_start_compiles_nothing(config, tmp_path, counted):
  """Takes long, since the first start compiles all programs of a run without the session's cache."""
  config.data.compilation_cache = str(tmp_path / "programs")
  config.num_train_steps = config.eval_every_steps = 2
  found = []
  for start in ("first", "second"):
    jax.clear_caches()
    counted.clear()
    train(config, tmp_path / start)
    events = (counted[f"/jax/compilation_cache/{name}"] for name in ("compile_requests_use_cache", "cache_hits"))
    found.append(tuple(events))
  (num_first, hits_first), (num_second, hits_second) = found
  assert hits_first < num_first
  assert hits_second == num_second > 10


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(InputError, match=r"config.data.compilation_cache=.*file/programs is no folder: Not a directory"):
    keep_compiled_programs(str(tmp_path / "file" / "programs"))
