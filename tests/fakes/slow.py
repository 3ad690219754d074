"""One case of a parametrised test that only `make test-slow` runs."""

from typing import Any

import pytest


def slow(*values: Any) -> Any:
  """The case, marked slow: a faster case of the same test covers the same lines."""
  return pytest.param(*values, marks=pytest.mark.slow)
