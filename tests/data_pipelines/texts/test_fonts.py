"""Pictures show letters, or the program says that they cannot."""

import pathlib

from PIL import ImageFont
import pytest

from data_pipelines.texts import fonts
from data_pipelines.texts.fonts import font_for, lacking

DEJAVU = pathlib.Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


def test_pillows_own_font_is_taken_where_it_has_the_letters(capsys):
  assert font_for(["plain, and 42!", ""], 14).getname() == ImageFont.load_default(14).getname()
  assert capsys.readouterr().err == ""


@pytest.mark.skipif(not DEJAVU.exists(), reason="DejaVu Sans is not installed")
def test_an_installed_font_that_has_the_letters_is_taken(capsys):
  text = "красная שמלה größer"
  assert lacking(ImageFont.load_default(14), "кש")
  assert lacking(font_for([text], 14), text.replace(" ", "")) == set()
  assert capsys.readouterr().err == ""


def test_letters_that_no_font_has_are_named(monkeypatch, tmp_path, capsys):
  (tmp_path / "damaged.ttf").write_bytes(b"no font")
  monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
  font_for(["red 赤い"], 14)
  assert capsys.readouterr().err == (
    "No font here has い 赤: the picture shows boxes. Install one, such as Noto Sans CJK.\n"
  )
