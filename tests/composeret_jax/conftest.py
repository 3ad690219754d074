import pytest

from tests.fakes import tiny
from tests.fakes.exported import exported


@pytest.fixture(scope="session")
def original(tmp_path_factory, raw_mit_states, prepared):
  """The ComposeAE's: not to be changed."""
  folder = tmp_path_factory.mktemp("exported")
  return folder / "bundle", *exported(tiny.config(raw_mit_states, prepared), folder)
