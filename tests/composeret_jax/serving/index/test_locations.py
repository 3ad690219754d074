import pathlib

import pytest

from composeret_jax.serving.index.locations import local_index
from data_pipelines.input_error import InputError


def test_folders_and_files_of_milvus_are_paths_as_all_others(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  assert local_index("~/indexes/a") == pathlib.Path("/home/me/indexes/a")
  assert local_index("milvus:~/a.db") == pathlib.Path("/home/me/a.db")


def test_a_server_has_no_path():
  assert local_index("milvus:http://host:19530") is None


@pytest.mark.parametrize("location", ["gs://bucket/a", "milvus:gs://bucket/a.db", "http://host:19530"])
def test_another_address_is_refused(location):
  with pytest.raises(InputError, match="--index=.* cannot be used: .*:// is no path on this machine"):
    local_index(location)
