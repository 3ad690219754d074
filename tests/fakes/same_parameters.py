"""Prints, as JSON, the largest difference between two runs' parameters after five steps, for each pair asked for.

python -m tests.fakes.same_parameters JSON

JSON is a list of pairs of keyword arguments of `five_steps.run`.
"""

import functools
import json
import sys

import numpy as np

from tests.fakes import five_steps


@functools.cache
def parameters(case: str) -> list[np.ndarray]:
  """All parameters after the five steps of a case, which is given as JSON."""
  return five_steps.run(**json.loads(case))[1]


def difference(*pair: dict) -> float:
  """The largest absolute difference of the parameters of two cases."""
  one, other = (parameters(json.dumps(case, sort_keys=True)) for case in pair)
  return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
  print("RESULT", json.dumps([difference(*pair) for pair in json.loads(sys.argv[1])]))
