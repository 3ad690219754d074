"""Typographic signs become plain ones, as before CLIP's tokens."""

import dataclasses
import html

import pytest

from composeret_jax.export.bundle_files import write_texts
from composeret_jax.pretrained.hub.tokenizer import read_pieces
from composeret_jax.serving.bundle.inputs import read_tokens
from data_pipelines.texts.plain_signs import with_plain_signs
from data_pipelines.texts.readers import TokenReader
from tests.fakes import tiny_tower

TEXTS = {
  "d\u2019un \u201cjoli\u201d chat": 'd\'un "joli" chat',
  "ﬁve ﬂat ﬀ": "five flat ff",
  "ＤＡＲＫ　ｂｏｘ！": "DARK box!",
  "2 &lt; 3 &amp;amp; &#233;": "2 < 3 & é",
  "a <b> &eacute;": "a <b> é",
  "e\u0301\u0000\ufeff": "é",
  "plain, as it is - 5%…": "plain, as it is - 5%…",
}


@pytest.mark.parametrize("text", TEXTS)
def test_signs_by_hand(text):
  assert with_plain_signs(text) == TEXTS[text]


def test_all_signs_are_those_of_ftfy():
  ftfy = pytest.importorskip("ftfy", reason="the reference is its fix_text")
  codes = [*range(0x20, 0x7F), *range(0xA0, 0x3100, 3), *range(0x2000, 0x2070), *range(0xF900, 0x10000, 3)]
  for text in [*(f"a{chr(code)}b" for code in codes if code not in (0x2028, 0x2029)), *TEXTS]:
    assert with_plain_signs(text) == html.unescape(html.unescape(ftfy.fix_text(text))), ascii(text)


def test_a_bundle_reads_texts_as_training_did(tmp_path):
  pieces = read_pieces(tiny_tower.make(tmp_path), "clip", tiny_tower.MAX_LENGTH)
  plain = dataclasses.replace(pieces, plain_signs=True)
  assert plain.ids(["ｄａｒｋ &lt;"]) == pieces.ids(["dark <"]) != pieces.ids(["ｄａｒｋ &lt;"])
  for reader in (plain, pieces):
    told = write_texts(tmp_path, TokenReader(reader, 8))
    assert read_tokens(tmp_path, told).reader.ids(TEXTS) == reader.ids(TEXTS)
