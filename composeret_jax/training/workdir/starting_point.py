"""The first parameters of a run from another run's checkpoint: all that fit by name and shape."""

from collections.abc import Mapping, Sequence
import sys
from typing import Any, NamedTuple

from flax import nnx
import jax
import ml_collections
import numpy as np

from composeret_jax.distributed import is_first
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.training.checkpoints import AVERAGE
from composeret_jax.training.workdir.made_with import chosen_start, START_FIELD
from composeret_jax.training.workdir.saved_arrays import saved_arrays
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError

NUM_SHOWN = 20
EMBEDDING = "text_encoder.embedding"  # of an LSTM: row 0 is for unknown words, the others are its words


class StartingPoint(NamedTuple):
  """The variables that the checkpoint at `where` was evaluated with, by name, and its LSTM's words, if it has one."""

  params: Mapping[str, np.ndarray]
  batch_stats: Mapping[str, np.ndarray]
  words: Sequence[str] | None
  where: AnyPath


def start_from_another_run(
  model: RetrievalModel, config: ml_collections.ConfigDict, words: Sequence[str] | None
) -> None:
  """Fills `model` from the run that `config` names, and prints which variables do not fit and stay initial.

  `words` belong to the model's LSTM: words that both runs know keep their embeddings. Raises InputError when there
  is no such checkpoint, it is damaged, or nothing of it fits.
  """
  there = _read(config)
  num_filled, notes = 0, list[str]()
  for kind, arrays in ((nnx.Param, there.params), (nnx.BatchStat, there.batch_stats)):
    num_filled += _fill(model, kind, dict(arrays), there.words, words, notes)
  if not num_filled:
    named = f"{START_FIELD}={config.init_from}"
    raise InputError(f"{named}: {there.where} has no array that fits this model by name and shape")
  if is_first():
    lines = [f"{num_filled:,} arrays start as those of {there.where}", *notes[:NUM_SHOWN]]
    lines += [f"and {len(notes) - NUM_SHOWN:,} more do not fit"] if len(notes) > NUM_SHOWN else []
    print("\n  ".join(lines), file=sys.stderr)


def _read(config: ml_collections.ConfigDict) -> StartingPoint:
  where, made_with = chosen_start(config)
  params = saved_arrays(where / "state", "optimizer_state.average.") or saved_arrays(where / "state", "params.")
  average = saved_arrays(where / AVERAGE, "") if (where / AVERAGE).exists() else {}
  return StartingPoint(
    params, average or saved_arrays(where / "state", "batch_stats."), made_with.sources.get("words"), where
  )


def _fill(
  model: RetrievalModel,
  kind: type[nnx.Variable],
  there: dict[str, np.ndarray],
  words_there: Sequence[str] | None,
  words: Sequence[str] | None,
  notes: list[str],
) -> int:
  """Fills the model's variables of a kind; returns how many are filled, and adds to `notes` what is not."""
  state = nnx.state(model, kind)
  flat, structure = jax.tree_util.tree_flatten_with_path(nnx.as_pure(state))
  filled, values = 0, []
  for path, own in flat:
    name = ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
    found = there.pop(name, None)
    if found is not None and name == EMBEDDING and words_there is not None and words is not None:
      found = _of_words(np.asarray(own), found, words_there, words, notes)
    if found is None or found.shape != own.shape:
      shape = "is not there" if found is None else f"is {list(found.shape)} there and {list(own.shape)} here"
      notes.append(f"{name} {shape}")
      values.append(own)
    else:
      filled += 1
      values.append(found.astype(own.dtype))
  notes += [f"{name} is there only" for name in there]
  nnx.replace_by_pure_dict(state, jax.tree_util.tree_unflatten(structure, values))
  nnx.update(model, state)
  return filled


def _of_words(
  own: np.ndarray, found: np.ndarray, words_there: Sequence[str], words: Sequence[str], notes: list[str]
) -> np.ndarray:
  """The embeddings of the words that both know, in the rows of `own`; the other words keep their own."""
  if list(words_there) == list(words) or own.shape[1:] != found.shape[1:]:
    return found
  rows = {word: row for row, word in enumerate(words_there, start=1)}
  both = [(row, rows[word]) for row, word in enumerate(words, start=1) if word in rows]
  taken: Any = np.array(own)
  taken[0] = found[0]
  for row, there in both:
    taken[row] = found[there]
  notes.append(f"{EMBEDDING}: {len(both):,} of {len(words):,} words are known there")
  return taken
