import os
import unicodedata

from PIL import Image
import pytest

from data_pipelines.folders import file_sizes, list_files, normal_name
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import FORMATS, SUFFIXES


def make(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(name)
  return folder


def names(folder, *suffixes):
  return list(list_files(folder, suffixes or ("",)).files)


def test_hidden_files_and_litter_are_left_out(tmp_path):
  litter = (".DS_Store", "a/._x.jpg", "Thumbs.db", "a/desktop.ini", "__MACOSX/x.jpg", ".git/config", "a/.hidden/x.jpg")
  make(tmp_path, "b.jpg", "a/x.jpg", *litter)
  assert list_files(tmp_path).left_out == []
  assert names(tmp_path) == ["a/x.jpg", "b.jpg"]


def test_links_are_followed_and_loops_end(tmp_path):
  make(tmp_path / "store", "x.jpg", "deep/y.jpg")
  folder = make(tmp_path / "folder", "a/b.jpg")
  (folder / "images").symlink_to(tmp_path / "store")
  (folder / "z.jpg").symlink_to(tmp_path / "store" / "x.jpg")
  (folder / "a" / "up").symlink_to(folder)
  listing = list_files(folder)
  assert list(listing.files) == ["a/b.jpg", "images/deep/y.jpg", "images/x.jpg", "z.jpg"]
  assert listing.left_out == ["a/up"]


def test_what_is_left_out_is_counted_with_an_example(tmp_path):
  make(tmp_path, "a.jpg", "notes.txt", "rows.csv")
  os.mkfifo(tmp_path / "pipe.jpg")
  listing = list_files(tmp_path, SUFFIXES)
  assert list(listing.files) == ["a.jpg"]
  assert listing.note(tmp_path).startswith(f"{tmp_path}: 3 entries are left out (")
  assert listing.note(tmp_path).endswith("for example 'notes.txt'")
  assert listing.note(tmp_path, used=["notes.txt", "rows.csv", "pipe.jpg"]) == ""


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
  make(tmp_path, "a.jpg", "secret/b.jpg")

  def scandir(path, actual=os.scandir):
    if str(path).endswith("secret"):
      raise PermissionError(13, "Permission denied", path)
    return actual(path)

  monkeypatch.setattr(os, "scandir", scandir)
  with pytest.raises(InputError, match="secret cannot be read: Permission denied"):
    list_files(tmp_path)
  with pytest.raises(InputError, match="none cannot be read: No such file"):
    list_files(tmp_path / "none")


def test_a_link_to_nothing_is_named(tmp_path):
  (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
  with pytest.raises(InputError, match=r"a.jpg is a link that leads nowhere \(No such file or directory\)"):
    list_files(tmp_path)
  (tmp_path / "a.jpg").unlink()
  (tmp_path / "b").symlink_to(tmp_path / "b")
  with pytest.raises(InputError, match="b is a link that leads nowhere"):
    list_files(tmp_path)


def test_names_are_utf8_and_composed(tmp_path):
  composed, decomposed = (unicodedata.normalize(form, "caf\u00e9.jpg") for form in ("NFC", "NFD"))
  make(tmp_path, decomposed)
  assert list_files(tmp_path).files == {composed: tmp_path / decomposed}
  make(tmp_path, composed)
  with pytest.raises(InputError, match="have the same name in composed Unicode"):
    list_files(tmp_path)
  (tmp_path / decomposed).unlink()
  (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
  with pytest.raises(InputError, match=r"caf\\udce9.png: the name is not UTF-8: rename the file"):
    list_files(tmp_path)


def test_sizes_go_by_the_names_on_the_disk_and_links_count_as_their_files(tmp_path):
  decomposed = unicodedata.normalize("NFD", "caf\u00e9.jpg")
  folder = make(tmp_path / "folder", f"a/{decomposed}", ".hidden")
  (folder / "b.txt").write_bytes(bytes(1000))
  (folder / "link.jpg").symlink_to(folder / "b.txt")
  (folder / "c").symlink_to(folder / "a")
  size = len(f"a/{decomposed}".encode())
  assert file_sizes(folder) == {f"a/{decomposed}": size, f"c/{decomposed}": size, "b.txt": 1000, "link.jpg": 1000}


def test_a_name_has_one_form():
  assert normal_name("./a//b/../dark.jpg") == "a/dark.jpg"
  assert normal_name(unicodedata.normalize("NFD", "\u00e9")) == "\u00e9"


def test_all_suffixes_of_what_is_decoded_are_found(tmp_path):
  undecoded = {".pfm"}  # floats, which are refused
  of_formats = {suffix for suffix, format in Image.registered_extensions().items() if format in FORMATS} - undecoded
  assert of_formats <= set(SUFFIXES)
  make(tmp_path, *(f"a{suffix.upper()}" for suffix in SUFFIXES), "b.txt")
  assert len(names(tmp_path, *SUFFIXES)) == len(SUFFIXES)
