"""A trained model's results for queries that only a test server can score, as the files that the server takes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
import dataclasses
import json
import pathlib
from typing import Any

import ml_collections
import numpy as np

from composeret_jax.distributed import is_first
from composeret_jax.evaluation.evaluator import Ranks
from composeret_jax.evaluation.ranking import NO_ROW
from composeret_jax.train_step.state import evaluated_variables
from composeret_jax.training.resume import trained_state
from composeret_jax.training.run import open_trained_run
from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.datasets.annotations import excerpt
from data_pipelines.datasets.tables.rows import SUBMISSION
from data_pipelines.input_error import InputError
from data_pipelines.tables import QueryTable
from data_pipelines.untrusted_json import parse_json

NUM_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class SubmissionFile:
  """A JSON object: the fields of `header`, and for each query's id its `num_answers` best images, best first.

  With `of_subset` they are of the query's subset. An image is named by its label, as a number with `as_numbers`.
  """

  name: str
  num_answers: int
  header: Mapping[str, str] = dataclasses.field(default_factory=dict)
  of_subset: bool = False
  as_numbers: bool = False
  max_bytes: int | None = None


CIRR_MAX_BYTES = 5_000_000


# By data set.
SUBMISSIONS: dict[str, tuple[SubmissionFile, ...]] = {
  "cirr": (
    SubmissionFile("recall.json", 50, {"version": "rc2", "metric": "recall"}, max_bytes=CIRR_MAX_BYTES),
    SubmissionFile(
      "recall_subset.json",
      3,
      {"version": "rc2", "metric": "recall_subset"},
      of_subset=True,
      max_bytes=CIRR_MAX_BYTES,
    ),
  ),
  "circo": (SubmissionFile("submission.json", 50, as_numbers=True),),
}


def problems(content: bytes, file: SubmissionFile, queries: QueryTable, gallery_labels: Sequence[str]) -> list[str]:
  """Every way in which `content` is not what the server expects of `file`; none when it takes it."""
  try:
    pairs = parse_json(content, as_pairs=True)
  except ValueError as error:
    return [f"not JSON ({error})"]
  if not content.lstrip().startswith(b"{"):
    return ["expected a JSON object"]
  found = dict(pairs)
  wrong = list(_of_the_whole(content, pairs, file, queries.ids))
  gallery = frozenset(gallery_labels)
  for row, query in enumerate(queries.ids):
    if query in found:
      own = frozenset(queries.subsets[row]) if file.of_subset else gallery
      reference = gallery_labels[queries.references[row]]
      wrong += (f"{query}: {problem}" for problem in _of_answers(found[query], file, own, reference))
  return wrong


def _of_the_whole(content: bytes, pairs: list, file: SubmissionFile, expected: Sequence[str]) -> Iterator[str]:
  found = dict(pairs)
  if file.max_bytes is not None and len(content) > file.max_bytes:
    yield f"{len(content):,} bytes, expected at most {file.max_bytes:,}"
  if len(found) < len(pairs):
    yield f"{len(pairs) - len(found):,} fields are there twice"
  for name, value in file.header.items():
    if found.get(name) != value:
      yield f"{name} is {excerpt(found.get(name))}, expected {value!r}"
  ids = found.keys() - file.header.keys()
  missing = [query for query in expected if query not in ids]
  if missing:
    yield f"{len(missing):,} of {len(expected):,} queries are missing: {_some(missing)}"
  foreign = sorted(ids - set(expected))
  if foreign:
    yield f"{len(foreign):,} ids are of no query: {_some(map(excerpt, foreign))}"


def _of_answers(answers: Any, file: SubmissionFile, candidates: Collection[str], reference: str) -> Iterator[str]:
  kind = int if file.as_numbers else str
  if not isinstance(answers, list) or not all(type(answer) is kind for answer in answers):
    yield f"expected a list of {'numbers' if file.as_numbers else 'names'}, found {excerpt(answers)}"
    return
  labels = [str(answer) for answer in answers]
  if len(labels) != file.num_answers:
    yield f"{len(labels)} images, expected {file.num_answers}"
  if len(set(labels)) < len(labels):
    yield "an image is there twice"
  if reference in labels:
    yield f"the reference {excerpt(reference)} is among its own answers"
  foreign = [label for label in labels if label not in candidates and label != reference]
  if foreign:
    yield f"{excerpt(foreign[0])} is not in its {'subset' if file.of_subset else 'gallery'}"


def _some(texts) -> str:
  texts = list(texts)
  return ", ".join(texts[:NUM_SHOWN]) + (", ..." if len(texts) > NUM_SHOWN else "")


NUM_PROBLEMS_SHOWN = 10


def submit(
  config: ml_collections.ConfigDict, workdir: AnyPath, folder: pathlib.Path, checkpoint_step: str = ""
) -> None:
  """Writes the files of a checkpoint in `workdir`, which `trained_state` chooses, to `folder`, and checks them.

  They are for the data set of `config`, and never hold a query's reference, whatever `config.protocol` is. Raises
  InputError when it has no test server, when there is no checkpoint, and for a file that the server would refuse; it is
  then left, under another name.
  """
  if config.data.dataset not in SUBMISSIONS:
    expected = " or ".join(sorted(SUBMISSIONS))
    raise InputError(f"config.data.dataset is {config.data.dataset}, which has no test server, expected {expected}")
  config = config.copy_and_resolve_references()
  config.protocol = config.data.dataset  # the one that leaves references out
  run = open_trained_run(config, workdir, SUBMISSION)
  state = trained_state(run, checkpoint_step)
  ranks = run.evaluator.rank(run.evaluator.features(evaluated_variables(state)))
  if not is_first():
    return
  queries, labels = run.dataset.queries, run.dataset.gallery.labels
  num_blank = sum(not text.strip() for text in queries.texts)
  print(f"Step {int(state.step)}, {run.dataset.title}: {len(queries):,} queries, {len(labels):,} images")
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
    more = [f"and {len(wrong) - NUM_PROBLEMS_SHOWN:,} more"] if len(wrong) > NUM_PROBLEMS_SHOWN else []
    raise InputError("\n  ".join([f"the test server would refuse {unchecked}:", *wrong[:NUM_PROBLEMS_SHOWN], *more]))
  unchecked.replace(path)
  print(f"Submission: {path}")


def submitted(
  file: SubmissionFile, ranks: Ranks, queries: QueryTable, gallery_labels: Sequence[str]
) -> Mapping[str, Any]:
  """The content of `file`: its header, and the first images of each query, by its id."""
  ranking = ranks.subsets if file.of_subset else ranks.gallery
  if ranking is None:
    raise InputError(f"the data set's queries have no subsets, expected those that {file.name} is of")
  rows = ranking.rows[:, : file.num_answers]
  names = np.array([int(label) for label in gallery_labels] if file.as_numbers else gallery_labels)
  answers = {query: names[own[own != NO_ROW]].tolist() for query, own in zip(queries.ids, rows, strict=True)}
  return {**file.header, **answers}
