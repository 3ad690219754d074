"""What each of several processes encodes, and that together they find what one finds."""

import socket

import jax
import numpy as np
import pytest

from composeret_jax import distributed
from composeret_jax.evaluation.shares import Shares
from data_pipelines.dataset import open_dataset
from tests.composeret_jax.train_step.test_parallel import results, start
from tests.fakes import tiny_bert

REFERENCES = np.array([6, 0, 0, 3, 5, 4, 6])


@pytest.fixture
def process_of_three(monkeypatch):
  """Makes this process one of three."""
  monkeypatch.setattr(jax, "process_count", lambda: 3)
  return lambda process: monkeypatch.setattr(jax, "process_index", lambda: process)


def test_every_image_and_query_is_one_processs(process_of_three):
  shares = Shares.of(7, REFERENCES)
  images, queries = [], []
  for process in range(3):
    process_of_three(process)
    images += shares.images()
    own = shares.order[shares.queries(shares.images())]
    assert set(REFERENCES[own]) <= set(shares.images())
    queries += own.tolist()
  assert images == list(range(7))
  assert sorted(queries) == list(range(7))


def test_every_process_has_the_same_number_of_calls(process_of_three):
  shares = Shares.of(7, REFERENCES)
  assert [len(shares.images(process)) for process in range(3)] == [2, 2, 3]
  assert shares.num_batches(2) == 2
  # The first images of the three shares are referred to twice, not at all and twice; the last image twice.
  assert [shares.most_queries(slice(start, start + 2)) for start in (0, 2)] == [2, 2]


def test_gathered_rows_are_those_of_all_processes_to_the_bit(process_of_three, monkeypatch):
  parts = [np.random.default_rng(seed).normal(size=(num, 2, 3)) for seed, num in enumerate((2, 0, 3))]
  sent = iter(range(3))
  monkeypatch.setattr(distributed, "GATHERED_BYTES", 1)  # a row at a time

  def process_allgather(own):
    row = next(sent)
    padded = [np.concatenate([part, np.zeros((3 - len(part), 2, 3))])[row : row + 1] for part in parts]
    assert own.tobytes() == padded[2].tobytes()
    return np.stack([part.view(np.uint8).reshape(1, -1) for part in padded])

  monkeypatch.setattr(distributed.multihost_utils, "process_allgather", process_allgather)
  np.testing.assert_array_equal(distributed.gather(parts[2], [2, 0, 3]), np.concatenate(parts))


@pytest.mark.slow  # starts three processes
def test_two_processes_share_the_images_and_rank_and_mine_as_one(config, raw_mit_states, prepared, tmp_path):
  open_dataset(config.data, config.text_query).open_all_pixels()
  bert = str(tiny_bert.make(tmp_path / "bert"))
  case = {"raw": str(raw_mit_states), "prepared": str(prepared), "bert": bert}
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  processes = [start(case, 2, address, "2", str(number), module="shared_evaluation") for number in range(2)]
  alone = results(start(case, 1, module="shared_evaluation"))
  first, second = map(results, processes)
  for found in (first, second):
    assert found["ranks"] == alone["ranks"]
    assert found["metrics"] == pytest.approx(alone["metrics"])
    np.testing.assert_allclose(found["table"], alone["table"], atol=1e-6)
    assert found["mined"] == alone["mined"]
  assert first["read"] + second["read"] == alone["read"] == list(range(12))
  assert len(first["read"]) == len(second["read"]) == 6
  assert first["num_texts"] + second["num_texts"] == alone["num_texts"]
  assert abs(first["num_texts"] - second["num_texts"]) <= 1
  assert sorted(first["encoded"] + second["encoded"]) == alone["encoded"]
  assert abs(len(first["encoded"]) - len(second["encoded"])) <= 1
