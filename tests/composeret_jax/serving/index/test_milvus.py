"""A collection in Milvus that the program made before collections had metadata."""

import base64

import numpy as np
import pytest

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.columns import OneOf
from composeret_jax.serving.searcher import Searcher
from data_pipelines.input_error import InputError
from tests.fakes.fake_bundle import DIM, fake_bundle
from tests.fakes.tiny_index import needs_milvus, rows

pytestmark = needs_milvus


def make_older_collection(file, fingerprint, put):
  """As the program wrote it then: no field `metadata`."""
  from pymilvus import DataType, MilvusClient

  from composeret_jax.serving.index.milvus import _key

  client = MilvusClient(str(file))
  schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
  schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
  for name in ("id", "sha256", "caption", "path", "thumbnail"):
    schema.add_field(name, DataType.VARCHAR, max_length=65_535)
  schema.add_field("norm", DataType.FLOAT)
  schema.add_field("feature", DataType.FLOAT_VECTOR, dim=DIM)
  params = client.prepare_index_params()
  params.add_index("feature", index_type="FLAT", metric_type="IP")
  name = f"composeret_jax_{fingerprint}"
  client.create_collection(name, schema=schema, index_params=params, consistency_level="Strong")
  client.insert(
    name,
    [
      {
        "key": _key(entry.id),
        "id": entry.id,
        "sha256": entry.sha256,
        "caption": entry.caption,
        "path": entry.path,
        "thumbnail": base64.b64encode(jpeg).decode(),
        "norm": float(norm),
        "feature": feature,
      }
      for entry, feature, norm, jpeg in zip(put.entries, put.features, put.norms, put.thumbnails, strict=True)
    ],
  )
  client.close()


@pytest.fixture
def older(tmp_path):
  """The location of such an index, and what it holds."""
  put = rows([f"{number:03d}" for number in range(20)])
  make_older_collection(tmp_path / "index.db", fake_bundle().fingerprint, put)
  return f"milvus:{tmp_path / 'index.db'}", put


def test_it_is_read_and_searched(older):
  location, put = older
  searcher = Searcher(fake_bundle(), open_index(location))
  assert len(searcher.index) == 20 and "003" in searcher.index
  assert searcher.index.entries() == {entry.id: entry for entry in put.entries}
  kept = searcher.index.get(["007"])
  np.testing.assert_array_equal(kept.features, put.features[7:8])
  assert kept.thumbnails == [put.thumbnails[7]]
  scores = put.features @ put.features[3]
  expected = [f"{row:03d}" for row in np.argsort(-scores) if row != 3][:5]
  found = searcher.search("003", k=5)
  assert [(result.id, result.metadata) for result in found] == [(id, {}) for id in expected]
  assert searcher.index.find("caption 004", 5) == ["004"]
  assert searcher.index.columns() == []
  with pytest.raises(InputError, match="no column 'colour'"):
    searcher.index.search(put.features[:1], 5, (OneOf("colour", ("red",)),))


def test_it_is_written_on_without_metadata(older):
  location, _ = older
  bundle = fake_bundle()
  index = create_index(location, bundle.fingerprint, bundle.feature_dim)
  index.put(rows(["003", "new"], seed=1))
  index.delete(["000"])
  assert len(index) == 20 and index.get(["003"]).thumbnails == [b"jpeg 1 003"]
  named = rows(["other"])
  named.entries[0].metadata["colour"] = "red"
  with pytest.raises(InputError, match="was made before indexes in Milvus had metadata: make a new one"):
    index.put(named)
  assert "other" not in index
