import importlib.util
import os

import jax
import pytest

from tests.fakes import tiny

# A test waits for XLA's compiler, not for what it compiles. A tiny step compiles five times as fast with these.
FAST_COMPILE = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{FAST_COMPILE} {os.environ.get('XLA_FLAGS', '')}"  # before jax starts a backend
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # asks by gRPC which kind of bucket it is


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
  """Compiles the same step once a session, for all workers, in processes that tests start as well."""
  base = tmp_path_factory.getbasetemp()
  folder = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compilation_cache")
  options = {"jax_compilation_cache_dir": folder, "jax_persistent_cache_min_compile_time_secs": 0.1}
  for name, value in options.items():
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


@pytest.fixture(scope="session")
def raw_mit_states(tmp_path_factory):
  """A tiny MIT-States folder."""
  return tiny.make_mit_states(tmp_path_factory.mktemp("mit_states"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """Where the session's prepared data sets are."""
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="session")
def bucket_server():
  """The address of the session's bucket: TensorStore reads once in a process where the service is."""
  for package in ("gcp_storage_emulator", "gcsfs"):
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"needs {package}")
  from tests.fakes import bucket

  with bucket.served() as address:
    yield address


@pytest.fixture
def bucket(bucket_server, tmp_path):
  """The address of a folder in a bucket, empty for each test."""
  return f"{bucket_server}/{tmp_path.name}"


@pytest.fixture
def config(raw_mit_states, prepared):
  """A tiny run on the tiny data."""
  return tiny.config(raw_mit_states, prepared)
