"""Plain signs in place of typographic ones, as OpenAI's CLIP has a text cleaned before its tokens are found.

That is html.unescape twice after ftfy.fix_text, but for ftfy's repair of text that was decoded wrongly.
"""

from collections.abc import Mapping
import html
import unicodedata

SINGLE_QUOTES, DOUBLE_QUOTES = "\u02bc\u2018\u2019\u201a\u201b", "\u201c\u201d\u201e\u201f"


LIGATURES = "ĲĳŉǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬅﬆ"
WIDE = [chr(code) for code in (0x3000, *range(0xFF01, 0xFFF0))]  # and narrow ones, which become as wide as usual
CONTROLS = [*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]


def _signs() -> Mapping[int, str]:
  pairs = [(sign, unicodedata.normalize("NFKC", sign)) for sign in (*LIGATURES, *WIDE)]
  pairs += [(sign, "'") for sign in SINGLE_QUOTES] + [(sign, '"') for sign in DOUBLE_QUOTES]
  return {ord(sign): plain for sign, plain in pairs} | dict.fromkeys(CONTROLS, "")


_PLAIN = _signs()


def with_plain_signs(text: str) -> str:
  """The text in NFC with ASCII quotes, without HTML's entities, ligatures, wide letters and control characters."""
  if "<" not in text:
    text = html.unescape(text)
  text = unicodedata.normalize("NFC", text.translate(_PLAIN))
  return html.unescape(html.unescape(text))
