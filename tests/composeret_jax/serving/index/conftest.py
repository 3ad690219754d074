import pytest

from tests.fakes.fake_bundle import write_images
from tests.fakes.tiny_index import needs_milvus


@pytest.fixture
def folder(tmp_path):
  write_images(tmp_path / "images", 10)
  return tmp_path / "images"


@pytest.fixture(params=["exact", pytest.param("milvus", marks=needs_milvus)])
def location(request, tmp_path):
  return {"exact": str(tmp_path / "index"), "milvus": f"milvus:{tmp_path}/gallery.db"}[request.param]
