"""A shop's colour, in the shades that can be read: on its own surface, on light and on dark ones."""

from collections.abc import Sequence

DEFAULT = "#1f6f5c"
LIGHT, DARK = "#f1efeb", "#2a2826"  # the surfaces of page.css that leave text the least contrast
READABLE = 4.6  # contrast of text by WCAG 2.2 AA, and a little
STEPS = 50


def brand_css(accent: str) -> str:
  """A style sheet with the accent (`#rrggbb`, "" for the default) and its shades as custom properties."""
  accent = accent or DEFAULT
  shades = {
    "--accent": accent,
    "--on-accent": on(accent),
    "--accent-on-light": readable(accent, LIGHT, towards="#000000"),
    "--accent-on-dark": readable(accent, DARK, towards="#ffffff"),
  }
  return f":root {{ {' '.join(f'{name}: {value};' for name, value in shades.items())} }}\n"


def on(accent: str) -> str:
  """White or black, whichever can be read better on the accent; one of them has a contrast of at least 4.58."""
  return max(("#ffffff", "#000000"), key=lambda colour: contrast(colour, accent))


def readable(accent: str, surface: str, towards: str) -> str:
  """The accent, mixed with as much of `towards` as it takes to be read on the surface."""
  start, end = _channels(accent), _channels(towards)
  for step in range(STEPS + 1):
    mixed = [round(a + (b - a) * step / STEPS) for a, b in zip(start, end, strict=True)]
    colour = "#" + "".join(f"{channel:02x}" for channel in mixed)
    if contrast(colour, surface) >= READABLE:
      return colour
  return towards


def contrast(colour: str, other: str) -> float:
  """The contrast ratio of two colours, 1 to 21, as WCAG 2.2 defines it."""
  lights = sorted(_luminance(_channels(value)) for value in (colour, other))
  return (lights[1] + 0.05) / (lights[0] + 0.05)


def _channels(colour: str) -> list[int]:
  return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def _luminance(channels: Sequence[int]) -> float:
  linear = [
    c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (channel / 255 for channel in channels)
  ]
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
