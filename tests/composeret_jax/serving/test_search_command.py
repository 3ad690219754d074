import pytest

from composeret_jax.serving.search_command import check_picture
from data_pipelines.input_error import InputError


@pytest.mark.parametrize("name", ["", "a", "a.txt", "a.svg"])
def test_a_picture_that_cannot_be_written_is_refused_before_the_search(tmp_path, name):
  with pytest.raises(InputError, match=r"--picture=.* cannot be used: it is .*Set --picture to a file"):
    check_picture(tmp_path / name)


def test_pictures_have_any_suffix_that_is_written(tmp_path):
  for name in ("results.png", "a.JPG", "new/folder/b.webp"):
    check_picture(tmp_path / name)
