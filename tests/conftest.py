import pytest

from tests import tiny


@pytest.fixture(scope="session")
def raw_mit_states(tmp_path_factory):
  """A tiny MIT-States folder."""
  return tiny.make_mit_states(tmp_path_factory.mktemp("mit_states"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """Where the session's prepared data sets are."""
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def config(raw_mit_states, prepared):
  """A tiny run on the tiny data."""
  return tiny.config(raw_mit_states, prepared)
