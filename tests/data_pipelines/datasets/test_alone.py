"""Images alone and captions alone: what is read, held out and masked."""

import json
import sys
import types

import pytest

from configs import lincir, pic2word
from data_pipelines.dataset import open_dataset
from data_pipelines.datasets.alone.keywords import cleaned, keywords, masked, tagged
from data_pipelines.input_error import InputError
from tests.fakes import tiny_datasets


def opened(config, tmp_path, **fields):
  config.data.update(prepared_dir=str(tmp_path / "prepared"), num_workers=0, test_share=0.3, **fields)
  return open_dataset(config.data, "modification")


def test_each_image_of_a_folder_is_its_own_target(tmp_path):
  folder = tiny_datasets.make_catalogue(tmp_path / "images", num_images=20)
  dataset = opened(pic2word.get_config(), tmp_path, dir=str(folder))
  trained, tested = set(dataset.train_images.names), set(dataset.gallery.names)
  assert trained and tested and not trained & tested and len(trained | tested) == 20
  triplets = [triplet for item in range(len(trained)) for triplet in dataset.train_triplets.sample(item, lambda: None)]
  assert [(triplet.reference, triplet.target) for triplet in triplets] == [(row, row) for row in range(len(trained))]
  assert {triplet.text for triplet in triplets} == {"a photo of *"} == set(dataset.queries.texts)
  assert [dataset.gallery.labels[row] for row in dataset.queries.references] == list(dataset.queries.target_labels)


def test_a_folder_of_too_few_images_is_refused(tmp_path):
  folder = tiny_datasets.make_catalogue(tmp_path / "images", num_images=1)
  with pytest.raises(InputError, match=r"of 1 images .*test_share=0\.3 leaves none for (train|test)"):
    opened(pic2word.get_config(), tmp_path, dir=str(folder))


ROWS = [{"caption": f"A Red hat number {i}!", "keywords": ["A Red hat"]} for i in range(20)]


def texts_of(dataset):
  trained = {
    dataset.train_images.labels[triplet.target]: triplet.text
    for item in range(len(dataset.train_images))
    for triplet in dataset.train_triplets.sample(item, lambda: None)
  }
  return trained | dict(zip(dataset.queries.target_labels, dataset.queries.texts, strict=True))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_given_keywords_are_replaced(tmp_path, suffix):
  file = tmp_path / f"captions.{suffix}"
  if suffix == "jsonl":
    file.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, {"caption": "$"}]))
  else:
    lines = [f"{row['caption']},{'|'.join(row['keywords'])}\n" for row in ROWS]
    file.write_text("".join(["caption,keywords\n", *lines]))
  dataset = opened(lincir.get_config(), tmp_path, captions=str(file))
  assert texts_of(dataset) == {f"a red hat number {i}!": f"$ number {i}!" for i in range(20)}
  assert dataset.images_are_texts and len(dataset.gallery) and len(dataset.train_images)
  assert dataset.gallery.encoded[0] == dataset.gallery.labels[0].encode()
  sizes = dataset.identity["images of test"]["rows"]
  assert sizes == len(dataset.gallery)


@pytest.fixture
def tagger(monkeypatch):
  """A pipeline that knows three words, in place of spaCy."""
  tags = {"red": "ADJ", "hat": "NOUN", "the": "DET"}

  class Pipeline:
    def pipe(self, texts, batch_size):
      for text in texts:
        yield [types.SimpleNamespace(text=word, pos_=tags.get(word, "X")) for word in text.split()]

  def load(name):
    if name != "known":
      raise OSError(f"[E050] Can't find model '{name}'.\nMore")
    return Pipeline()

  monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=load))


@pytest.mark.usefixtures("tagger")
def test_a_taggers_keywords_are_replaced(tmp_path):
  file = tmp_path / "captions.txt"
  file.write_text("".join(f"the Red hat of {i}\n\n" for i in range(20)))
  dataset = opened(lincir.get_config(), tmp_path, captions=str(file), tagger="known")
  assert texts_of(dataset) == {f"the red hat of {i}": f"$ of {i}" for i in range(20)}
  with pytest.raises(InputError, match=r"tagger is 'other', expected a pipeline of spaCy.*Can't find model"):
    list(tagged(["a hat"], "other"))


@pytest.fixture(scope="module")
def trained_tagger(tmp_path_factory):
  """A folder with a pipeline of spaCy that was trained on three captions."""
  spacy = pytest.importorskip("spacy", reason="captions are tagged by the optional extra lincir")
  from spacy.training import Example

  lines = {
    "a red hat on the table 7": "DET ADJ NOUN ADP DET NOUN NUM",
    "two dogs run in the old park 2": "NUM NOUN VERB ADP DET ADJ NOUN NUM",
    "she paints": "PRON VERB",
  }
  pipeline = spacy.blank("en")
  pipeline.add_pipe("morphologizer")  # gives universal tags
  examples = [
    Example.from_dict(pipeline.make_doc(line), {"words": line.split(), "pos": tags.split()})
    for line, tags in lines.items()
  ]
  optimizer = pipeline.initialize(lambda: examples)
  for _ in range(30):
    pipeline.update(examples, sgd=optimizer)
  folder = tmp_path_factory.mktemp("pipeline")
  pipeline.to_disk(folder)
  return folder


def test_a_real_pipelines_keywords_are_replaced(trained_tagger, tmp_path):
  captions = [f"A Red hat on the table {i}" for i in range(10)] + [
    f"two dogs run in the old park {i}" for i in range(10)
  ]
  (tmp_path / "captions.txt").write_text("\n".join(captions))
  dataset = opened(lincir.get_config(), tmp_path, captions=str(tmp_path / "captions.txt"), tagger=str(trained_tagger))
  texts = texts_of(dataset)
  assert len(texts) == 20
  assert {text.rpartition(" ")[0] for text in texts.values()} == {"$ on $", "two $ run in $"}


def test_a_pipeline_without_tags_is_refused(tmp_path):
  spacy = pytest.importorskip("spacy", reason="captions are tagged by the optional extra lincir")
  spacy.blank("en").to_disk(tmp_path)
  with pytest.raises(InputError, match="whose words have no universal part-of-speech tags"):
    list(tagged(["", "a hat"], str(tmp_path)))


def test_a_pipeline_that_is_not_installed_is_named():
  pytest.importorskip("spacy", reason="captions are tagged by the optional extra lincir")
  with pytest.raises(
    InputError, match=r"is 'no_such_pipeline', .*spacy download en_core_web_sm.*column keywords.*E050"
  ):
    list(tagged(["a hat"], "no_such_pipeline"))


def test_without_spacy_the_message_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "spacy", None)
  with pytest.raises(InputError, match=r"pip install 'composeret-jax\[lincir\]'"):
    list(tagged(["a hat"], "en_core_web_sm"))


@pytest.mark.parametrize(
  ("caption", "words", "other", "expected"),
  [
    ("a cat sits in a catalogue", ["a cat"], "sits", "$ sits in $ alogue"),  # inside words too
    ("red  car on road", ["red car", "road"], "on", "red car $ road"),  # the first is not there literally
    ("a cat on a mat", ["a cat", "a dog", "a mat"], "on", "$ $ a mat"),
    ("running", [], "running", "$"),
    ("running", [], "missing", "a photo of $"),
  ],
)
def test_masked_captions(caption, words, other, expected):
  assert masked(caption, words, other) == expected


def test_keywords_are_runs_of_words():
  words = [("The", "DET"), ("old", "ADJ"), ("dog", "NOUN"), ("runs", "VERB"), ("Rome", "PROPN")]
  assert keywords(words) == ["The old dog", "Rome"]
  assert cleaned("<PERSON> pays $5") == "person pays 5"


def test_no_captions_are_refused(tmp_path):
  for name, content in (("blank.txt", " \n\n"), ("placeholders.txt", "$\n$$\n")):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}: no captions"):
      opened(lincir.get_config(), tmp_path, captions=str(tmp_path / name))
  with pytest.raises(InputError, match=r"config\.data\.captions is '', expected a file of captions"):
    opened(lincir.get_config(), tmp_path)
