import pytest

from configs import fashion200k
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.fashion200k import clean_caption
from data_pipelines.input_error import InputError
from data_pipelines.texts.labels import replacement_text
from tests.fakes import tiny_datasets


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_datasets.make_fashion200k(tmp_path_factory.mktemp("fashion200k"))


def data_config(folder, prepared):
  config = fashion200k.get_config().data
  config.dir, config.prepared_dir = str(folder), str(prepared)
  return config


def test_tables(raw, tmp_path):
  dataset = open_dataset(data_config(raw, tmp_path), "modification")
  assert dataset.train_images.labels == tiny_datasets.FASHION200K_CAPTIONS["train"]
  assert dataset.gallery.labels == tiny_datasets.FASHION200K_CAPTIONS["test"]
  assert dataset.gallery.names[1] == tiny_datasets.fashion200k_name("test", 1)
  assert dataset.queries.references.tolist() == [0, 1]
  assert dataset.queries.texts == ["replace black with white", "replace white with black"]
  assert dataset.queries.target_labels == ["white top", "black top"]
  complete = open_dataset(data_config(raw, tmp_path), "complete")
  assert complete.queries.texts == ["white top", "black top"]


def test_hidden_label_files_are_ignored(tmp_path):
  raw = tiny_datasets.make_fashion200k(tmp_path / "raw")
  (raw / "labels" / "._dress_train_detect_all.txt").write_bytes(b"\x00\x05\x16\x07Mac OS X")
  dataset = open_dataset(data_config(raw, tmp_path), "modification")
  assert dataset.train_images.labels == tiny_datasets.FASHION200K_CAPTIONS["train"]


def test_signs_become_words():
  assert clean_caption(" 3.5 cm? a & b *\n") == "3dotmark5 cmquestionmark a andmark b starmark"


@pytest.mark.parametrize(
  "reference, target, text",
  [
    ("red lace dress", "blue lace dress", "replace red with blue"),
    ("red dress", "red lace dress", "replace dress with lace"),  # the target lacks no word of the reference: its last
    ("red lace dress", "red dress", "replace lace with dress"),
  ],
)
def test_replacement_text(reference, target, text):
  assert replacement_text(reference, target) == text


def test_says_what_is_expected_and_what_was_found(tmp_path):
  (tmp_path / "images").mkdir()
  with pytest.raises(InputError, match=r"has no labels/\*_train_\*.txt, .*women/, test_queries.txt \(found: images\)"):
    open_dataset(data_config(tmp_path, tmp_path / "prepared"), "modification")


def test_says_where_to_download(tmp_path):
  with pytest.raises(InputError, match="no such folder.*\n(.*\n)*.*github.com/xthan/fashion-200k"):
    open_dataset(data_config(tmp_path / "none", tmp_path / "prepared"), "modification")


def test_names_a_missing_image(tmp_path):
  raw = tiny_datasets.make_fashion200k(tmp_path / "raw")
  (raw / tiny_datasets.fashion200k_name("test", 2)).unlink()
  with pytest.raises(InputError, match="1 images .* are missing, for example .*/2/2_0.jpeg"):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")


@pytest.mark.parametrize(
  "file, line, message",
  [
    (
      "labels/all_train_detect_all.txt",
      "no tabs here\n",
      r"all_train_detect_all.txt:1: 'no tabs here', expected path",
    ),
    ("test_queries.txt", "one_path_only\n", r"test_queries.txt:1: 'one_path_only', expected two paths"),
    ("test_queries.txt", "not_labelled.jpeg neither.jpeg\n", "test_queries.txt:1: .*expected two paths"),
  ],
)
def test_names_a_bad_line(tmp_path, file, line, message):
  raw = tiny_datasets.make_fashion200k(tmp_path / "raw")
  (raw / file).write_text(line)
  with pytest.raises(InputError, match=message):
    open_dataset(data_config(raw, tmp_path / "prepared"), "modification")
