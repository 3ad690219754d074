"""An index in Milvus: a server or a cluster, or Milvus Lite, which runs in this process and keeps a local file.

Rows go by the SHA-256 of their id, because the client puts keys into expressions unquoted. Milvus Lite keeps neither
a collection's description nor its properties, so that the collection's name says whose features it holds.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import hashlib
import itertools
import json
import logging
import math
import pathlib
import re
from typing import Any

import numpy as np

from composeret_jax.serving.index.columns import (
  Between,
  check_known,
  ColumnInfo,
  describe,
  Filters,
  no_numbers,
  OneOf,
  plain_values,
)
from composeret_jax.serving.index.index import check_queries, Entry, Rows
from composeret_jax.serving.index.words import first_words
from data_pipelines.input_error import InputError

try:
  from pymilvus import DataType, MilvusClient, MilvusException
except ImportError as error:
  raise InputError("an index in Milvus needs its client: pip install 'composeret-jax[milvus]'") from error


PREFIX = "composeret_jax_"  # of the collection's name, the bundle's fingerprint follows
TEXT_FIELDS = ("id", "sha256", "caption", "path")
METADATA = "metadata"  # a JSON object
MOST_BYTES = 65_535  # in a text, by Milvus; thumbnails are texts too, as it has no field for bytes
ROWS_PER_REQUEST = 500
MOST_ROWS = 16_384  # that a query reaches, by Milvus


@contextlib.contextmanager
def _as_input_error() -> Iterator[None]:
  """Turns what Milvus refuses, or that it is not there, into the one error for the user; a decorator too."""
  try:
    yield
  except MilvusException as error:
    raise InputError(f"Milvus says: {error.message}") from error


class MilvusIndex:
  """An Index in Milvus. Memory here holds no more than a request's rows, whatever the size of the index."""

  def __init__(self, client: MilvusClient, collection: str):
    """`open` and `create` make one."""
    self._client = client
    self._collection = collection
    fields = client.describe_collection(collection)["fields"]
    self.feature_dim = next(int(field["params"]["dim"]) for field in fields if field["name"] == "feature")
    self.fingerprint = collection.removeprefix(PREFIX)
    # Collections that were made before have no metadata.
    self._known = TEXT_FIELDS + ((METADATA,) if any(field["name"] == METADATA for field in fields) else ())
    self._columns: list[ColumnInfo] | None = None
    self._numbers: dict[str, bool] = {}
    client.load_collection(collection)

  @classmethod
  def open(cls, address: str) -> "MilvusIndex":
    """At a file's path or a server's http address; raises InputError when there is no index."""
    if "://" not in address and not pathlib.Path(address).exists():
      raise InputError(f"there is no index at milvus:{address}")
    client = _connect(address)
    collection = _find_collection(client, address)
    if collection is None:
      raise InputError(f"there is no index at milvus:{address}")
    with _as_input_error():
      return cls(client, collection)

  @classmethod
  def create(cls, address: str, fingerprint: str, feature_dim: int) -> "MilvusIndex":
    """To write; begins an empty one where there is none."""
    client = _connect(address)
    with _as_input_error():
      collection = _find_collection(client, address) or _create_collection(client, fingerprint, feature_dim)
      return cls(client, collection)

  @_as_input_error()
  def __len__(self) -> int:
    return self._client.query(self._collection, filter="", output_fields=["count(*)"])[0]["count(*)"]

  @_as_input_error()
  def __contains__(self, id: str) -> bool:
    return bool(self._client.get(self._collection, ids=[_key(id)], output_fields=["id"]))

  @_as_input_error()
  def entries(self) -> Mapping[str, Entry]:
    """All images by id."""
    pages = self._client.query_iterator(self._collection, batch_size=1000, output_fields=list(self._known))
    found: dict[str, Entry] = {}
    for page in iter(pages.next, []):
      found |= {row["id"]: _entry(row) for row in page}
    pages.close()
    return found

  @_as_input_error()
  def put(self, rows: Rows) -> None:
    """Adds images, in place of those with the same ids; when killed, some of them may be there."""
    rows.check(self.feature_dim)
    if METADATA not in self._known and any(entry.metadata for entry in rows.entries):
      raise InputError("this index was made before indexes in Milvus had metadata: make a new one")
    documents = [
      {name: getattr(entry, name) for name in self._known}
      | {"key": _key(entry.id), "feature": feature, "norm": float(norm), "thumbnail": base64.b64encode(jpeg).decode()}
      for entry, feature, norm, jpeg in zip(rows.entries, rows.features, rows.norms, rows.thumbnails, strict=True)
    ]
    for document, name in itertools.product(documents, (*TEXT_FIELDS, "thumbnail")):
      length = len(document[name].encode())
      if length > MOST_BYTES:
        raise InputError(f"{document['id']}: its {name} has {length:,} bytes, Milvus takes {MOST_BYTES:,}")
    for start in range(0, len(documents), ROWS_PER_REQUEST):
      self._client.upsert(self._collection, documents[start : start + ROWS_PER_REQUEST])

  @_as_input_error()
  def delete(self, ids: Sequence[str]) -> None:
    """Removes images; raises InputError with the ids that are not there, and then removes none."""
    self._fetch(ids, ["id"])
    for keys in _keys_in_parts(ids):
      self._client.delete(self._collection, ids=keys)

  @_as_input_error()
  def get(self, ids: Sequence[str]) -> Rows:
    """The rows of these images, in this order; raises InputError with the ids that are not there."""
    rows = self._fetch(ids, [*self._known, "feature", "norm", "thumbnail"])
    return Rows(
      [_entry(row) for row in rows],
      np.array([row["feature"] for row in rows], np.float32).reshape(-1, self.feature_dim),
      np.array([row["norm"] for row in rows], np.float32),
      [base64.b64decode(row["thumbnail"]) for row in rows],
    )

  generation = 0

  def newest(self) -> "MilvusIndex":
    """Itself: a search finds what is there at its time."""
    return self

  @_as_input_error()
  def columns(self) -> list[ColumnInfo]:
    """The columns of the images' metadata; reads all of them, and remembers what it found."""
    if self._columns is None:
      values: dict[str, set[str | float]] = {}
      if METADATA in self._known:
        pages = self._client.query_iterator(self._collection, batch_size=1000, output_fields=[METADATA])
        for page in iter(pages.next, []):
          for name, value in ((name, value) for row in page for name, value in row[METADATA].items()):
            values.setdefault(name, set()).update(plain_values(value))
        pages.close()
      self._columns = [describe(name, values[name]) for name in sorted(values)]
      self._numbers = {name: all(isinstance(value, float) for value in own) for name, own in values.items()}
    return self._columns

  @_as_input_error()
  def find(self, words: str, limit: int, filters: Filters = ()) -> list[str]:
    """Ids of images that have every one of the words, upper and lower case as there, in their caption or id."""
    # Nothing in a word is special.
    escaped = [re.sub(r"[%_\\]", r"\\\g<0>", word) for word in first_words(words.split())]
    patterns = [json.dumps(f"%{word}%", ensure_ascii=False) for word in escaped]
    conditions = [f"(caption like {like} or id like {like})" for like in patterns] + self._conditions(filters)
    condition = " and ".join(conditions) or 'key != ""'
    rows = self._client.query(self._collection, filter=condition, output_fields=["id"], limit=limit)
    return [row["id"] for row in rows]

  @_as_input_error()
  def unfound(self, words: str) -> dict[str, str | None]:
    """The words that no image has in its caption or id; similar ones are not known here."""
    return {word: None for word in first_words(words.split()) if not self.find(word, 1)}

  @_as_input_error()
  def browse(self, limit: int, offset: int = 0, filters: Filters = ()) -> list[str]:
    """Ids in the order of their keys, which are as good as random."""
    condition = " and ".join(self._conditions(filters)) or 'key != ""'
    if offset + limit > MOST_ROWS:
      raise InputError(f"Milvus shows at most {MOST_ROWS:,} images one after the other")
    rows = self._client.query(self._collection, filter=condition, output_fields=["id"], limit=limit, offset=offset)
    return [row["id"] for row in rows]

  @_as_input_error()
  def search(self, queries: np.ndarray, k: int, filters: Filters = ()) -> list[list[tuple[str, float]]]:
    """The ids and inner products of the `k` images with the largest; equal ones that are found are in order of id.

    Which of several equal ones are found at the end of the list is Milvus' choice.
    """
    check_queries(queries)
    if not len(queries):
      return []
    options = {"anns_field": "feature", "limit": k, "output_fields": ["id"], "search_params": {"metric_type": "IP"}}
    condition = " and ".join(self._conditions(filters))
    found = self._client.search(self._collection, data=list(queries), filter=condition, **options)
    hits = [[(hit["entity"]["id"], float(hit["distance"])) for hit in hits] for hits in found]
    return [sorted(query_hits, key=lambda hit: (-hit[1], hit[0])) for query_hits in hits]

  def _conditions(self, filters: Filters) -> list[str]:
    """Filters as expressions; raises InputError for a column that no image has, and for a range of texts."""
    if filters:
      known = [column.name for column in self.columns()]
      for condition in filters:
        check_known(condition.column, known)
        if isinstance(condition, Between) and not self._numbers[condition.column]:
          raise no_numbers(condition.column)
    return [_condition(condition) for condition in filters]

  def close(self) -> None:
    """Closes the connection."""
    self._client.close()

  def _fetch(self, ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
    """These fields of the images, in this order; raises InputError with the ids that are not there."""
    found: dict[str, dict[str, Any]] = {}
    for keys in _keys_in_parts(ids):
      found |= {row["id"]: row for row in self._client.get(self._collection, ids=keys, output_fields=list(fields))}
    missing = [id for id in ids if id not in found]
    if missing:
      raise InputError(f"the index has no {', '.join(missing[:5])}{' and others' if missing[5:] else ''}")
    return [found[id] for id in ids]


def _connect(address: str) -> MilvusClient:
  logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints with a traceback what it raises
  try:
    return MilvusClient(address)
  except Exception as error:  # Milvus Lite's are not the client's
    raise InputError(f"milvus:{address} cannot be opened: {error}") from error


def _find_collection(client: MilvusClient, address: str) -> str | None:
  with _as_input_error():
    found = [name for name in client.list_collections() if name.startswith(PREFIX)]
  if len(found) > 1:
    raise InputError(f"milvus:{address} has {len(found)} indexes, expected one: {', '.join(found)}")
  return found[0] if found else None


def _create_collection(client: MilvusClient, fingerprint: str, feature_dim: int) -> str:
  schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
  schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
  for name in (*TEXT_FIELDS, "thumbnail"):
    schema.add_field(name, DataType.VARCHAR, max_length=MOST_BYTES)
  schema.add_field(METADATA, DataType.JSON)
  schema.add_field("norm", DataType.FLOAT)
  schema.add_field("feature", DataType.FLOAT_VECTOR, dim=feature_dim)
  params = client.prepare_index_params()
  params.add_index("feature", index_type="FLAT", metric_type="IP")
  name = PREFIX + fingerprint
  try:
    client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")
  except MilvusException:
    if not client.has_collection(name):  # else another process, with another shard, was a moment before
      raise
  return name


def _key(id: str) -> str:
  return hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()


def _keys_in_parts(ids: Sequence[str]) -> Iterator[list[str]]:
  for start in range(0, len(ids), ROWS_PER_REQUEST):
    yield [_key(id) for id in ids[start : start + ROWS_PER_REQUEST]]


def _entry(row: Mapping[str, Any]) -> Entry:
  return Entry(**{name: row[name] for name in TEXT_FIELDS}, metadata=row.get(METADATA) or {})


def _condition(condition: OneOf | Between) -> str:
  """One filter as an expression."""
  field = f"{METADATA}[{json.dumps(condition.column, ensure_ascii=False)}]"
  if isinstance(condition, Between):
    bounds = (("<=", condition.high), (">=", condition.low))
    given = [f"{field} {sign} {bound!r}" for sign, bound in bounds if math.isfinite(bound)]
    return " and ".join(given) or f"exists {field}"
  ways = []
  for value in condition.values:
    quoted = json.dumps(value, ensure_ascii=False)
    ways.append(f"{field} == {quoted}")
    if isinstance(value, str):
      ways.append(f"json_contains({field}, {quoted})")
      ways += [f"{field} == {value}"] if value in ("true", "false") else []
  return f"({' or '.join(ways)})" if ways else 'key == ""'
