"""The argument of configurations that take towers of a size and a data set: "large,cirr"."""

from collections.abc import Collection


def parse(argument: str, sizes: Collection[str], datasets: Collection[str]) -> tuple[str, str]:
  """Its size and its data set; raises ValueError, with those that there are, for others."""
  size, _, dataset = argument.partition(",")
  if size not in sizes or dataset not in datasets:
    expected = f"{' or '.join(sizes)}, a comma, and one of {', '.join(datasets)}"
    raise ValueError(f"no configuration is called {argument!r}; expected {expected}")
  return size, dataset
