"""What a trained model finds for queries that only a test server can count, as the files that the server takes."""

from collections.abc import Mapping, Sequence
import json
import pathlib
from typing import Any

import ml_collections
import numpy as np

from composeret_jax.ema import evaluation_params
from composeret_jax.evaluation import Ranks
from composeret_jax.processes import is_first
from composeret_jax.retrieval import NO_ROW
from composeret_jax.submission_rules import problems, SubmissionFile, SUBMISSIONS
from composeret_jax.train import trained_run
from data_pipelines.builders.tables import SUBMISSION
from data_pipelines.input_error import InputError
from data_pipelines.queries.tables import QueryTable

NUM_SHOWN = 10


def submit(config: ml_collections.ConfigDict, workdir: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the files of the newest checkpoint in `workdir` for the data set of `config` to `folder`, and checks them.

  Raises InputError when the data set has no test server, when there is no checkpoint, and for a file that the server
  would refuse; it is then left, under another name.
  """
  run = trained_run(config, workdir, SUBMISSION)
  state = run.trained_state()
  params = evaluation_params(state.params, state.optimizer_state)
  ranks = run.evaluator.rank(run.evaluator.features(params, state.batch_stats, state.frozen))
  if not is_first():
    return
  queries, labels = run.dataset.queries, run.dataset.gallery.labels
  num_blank = sum(not text.strip() for text in queries.texts)
  print(f"Step {int(state.step)}: {len(queries):,} queries, {len(labels):,} images")
  if num_blank:
    print(f"{num_blank:,} of the texts are blank: their references were composed with a text of no words")
  folder.mkdir(parents=True, exist_ok=True)
  for file in SUBMISSIONS[config.data.dataset]:
    write_file(folder, file, ranks, queries, labels)


def write_file(
  folder: pathlib.Path, file: SubmissionFile, ranks: Ranks, queries: QueryTable, gallery_labels: Sequence[str]
) -> None:
  """Writes one file, and reads it back; raises InputError with what the server would refuse it for."""
  path = folder / file.name
  unchecked = path.with_suffix(".unchecked")
  unchecked.write_text(json.dumps(submitted(file, ranks, queries, gallery_labels), separators=(",", ":")))
  wrong = problems(unchecked.read_bytes(), file, queries, gallery_labels)
  if wrong:
    more = [f"and {len(wrong) - NUM_SHOWN:,} more"] if len(wrong) > NUM_SHOWN else []
    raise InputError("\n  ".join([f"the test server would refuse {unchecked}:", *wrong[:NUM_SHOWN], *more]))
  unchecked.replace(path)
  print(f"Submission: {path}")


def submitted(
  file: SubmissionFile, ranks: Ranks, queries: QueryTable, gallery_labels: Sequence[str]
) -> Mapping[str, Any]:
  """What `file` says: its header, and the first images of each query, by its id."""
  rows = (ranks.subsets if file.of_subset else ranks.gallery)[:, : file.num_answers]
  names = np.array([int(label) for label in gallery_labels] if file.as_numbers else gallery_labels)
  answers = {query: names[own[own != NO_ROW]].tolist() for query, own in zip(queries.ids, rows, strict=True)}
  return {**file.header, **answers}
