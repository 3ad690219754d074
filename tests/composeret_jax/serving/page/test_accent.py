"""A shop's colour stays readable, whatever it is."""

import re

import numpy as np
import pytest

from composeret_jax.serving.page.accent import brand_css, contrast, on, readable
from composeret_jax.serving.page.assets import FOLDER


# By WebAIM's contrast checker.
@pytest.mark.parametrize(
  "colour, other, ratio",
  [
    ("#ffffff", "#000000", 21.0),
    ("#777777", "#ffffff", 4.48),
    ("#0000ff", "#ffffff", 8.59),
    ("#ff0000", "#00ff00", 2.91),
  ],
)
def test_contrast_is_that_of_wcag(colour, other, ratio):
  assert contrast(colour, other) == contrast(other, colour) == pytest.approx(ratio, abs=0.01)


def test_any_colour_can_be_read_in_both_schemes():
  surfaces = dict(re.findall(r"--(ground|surface|sunken): (#[0-9a-f]{3,6});", (FOLDER / "page.css").read_text()))
  light, dark = schemes()
  assert surfaces and light != dark
  for channels in np.random.default_rng(0).integers(0, 256, (200, 3)):
    accent = "#" + "".join(f"{channel:02x}" for channel in channels)
    shades = dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", brand_css(accent)))
    assert contrast(shades["--accent"], shades["--on-accent"]) >= 4.5
    assert min(contrast(shades["--accent-on-light"], surface) for surface in light) >= 4.5
    assert min(contrast(shades["--accent-on-dark"], surface) for surface in dark) >= 4.5


def schemes():
  """The surfaces of the light and of the dark scheme of the style sheet, as #rrggbb."""
  whole = lambda colour: colour if len(colour) == 7 else "#" + "".join(sign * 2 for sign in colour[1:])  # noqa: E731
  named = re.findall(r"--ground: (\S+); --surface: (\S+); --sunken: (\S+);", (FOLDER / "page.css").read_text())
  return [[whole(colour) for colour in colours] for colours in named]


def test_a_colour_that_can_be_read_stays():
  assert readable("#1f6f5c", "#ffffff", towards="#000000") == "#1f6f5c"
  assert on("#1f6f5c") == "#ffffff" and on("#ffe000") == "#000000"
