import pytest

from composeret_jax.serving.search_command import check_picture, id_or_file
from data_pipelines.input_error import InputError


@pytest.mark.parametrize("name", ["", "a", "a.txt", "a.svg", "a.xbm", "a.grib", "a.fits"])
def test_a_picture_that_cannot_be_written_is_refused_before_the_search(tmp_path, name):
  with pytest.raises(InputError, match=r"--picture=.* cannot be used: it is .*Set --picture to a file"):
    check_picture(tmp_path / name)


def test_pictures_have_any_suffix_that_is_written(tmp_path):
  for name in ("results.png", "a.JPG", "new/folder/b.webp", "a.pdf", "a.ico"):
    check_picture(tmp_path / name)


def test_a_reference_is_an_id_or_a_file_from_the_home_folder_too(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "hat.png").touch()
  assert id_or_file("~/hat.png", is_id=False) == f"{tmp_path}/hat.png"
  assert id_or_file("~/a.png", is_id=True) == "~/a.png"
  with pytest.raises(InputError, match="--image=b.png is no id of the index, and no file"):
    id_or_file("b.png", is_id=False)
