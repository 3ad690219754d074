import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.limits.upload_folder import UploadFolder
from tests.fakes.served import fake_searcher, served


@pytest.fixture(scope="package")
def searcher(tmp_path_factory):
  return fake_searcher(tmp_path_factory.mktemp("searched") / "index")


@pytest.fixture(scope="package")
def uploads(tmp_path_factory):
  """Where the service keeps what it is sent."""
  return UploadFolder(tmp_path_factory.mktemp("sent") / "uploads")


@pytest.fixture(scope="package")
def address(searcher, uploads):
  """Where the service answers."""
  with served(build_app(searcher, uploads=uploads)) as address:
    yield address
