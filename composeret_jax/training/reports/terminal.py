"""Messages and a progress bar on the terminal, while a run trains; on stderr."""

from collections.abc import Mapping
import math
import sys

import tqdm

from composeret_jax.distributed import is_first


def say(message: str) -> None:
  """Prints a message beside the results, to stderr; the first process does."""
  if is_first():
    print(message, file=sys.stderr)


def progress_bar(first: int, total: int) -> tqdm.tqdm:
  """Steps done, rate and time left; seldom redrawn when nobody watches a terminal."""
  interval = 0.5 if sys.stderr.isatty() else 20
  return tqdm.tqdm(
    initial=first, total=total, desc="train", unit=" steps", mininterval=interval, disable=not is_first()
  )


def show_progress(bar: tqdm.tqdm, losses: Mapping[str, float], images_per_second: float) -> None:
  """Puts the total loss and the speed behind the bar."""
  bar.set_postfix(loss=f"{losses.get('total', math.nan):.4f}", images_per_s=f"{images_per_second:.0f}")
