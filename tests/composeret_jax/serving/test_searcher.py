import concurrent.futures
import functools
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

import composeret_jax
from composeret_jax.serving import search_command
from composeret_jax.serving.index import create_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import folder_images
from composeret_jax.serving.search_command import search
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.batching import Batching
from composeret_jax.serving.service.turns import answer, Question
from data_pipelines.input_error import InputError
from tests.fakes import hidden_packages
from tests.fakes.fake_bundle import fake_bundle, write_images

NUM_IMAGES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("searched")
  write_images(folder / "images", NUM_IMAGES)
  index = create_index(folder / "index", "a" * 64, 16)
  build(fake_bundle(), index, folder_images(folder / "images"))
  index.close()
  return folder


def open_searcher(folder, **options):
  from composeret_jax.serving.index import open_index

  return Searcher(fake_bundle(**options), open_index(folder / "index"))


@pytest.fixture
def searcher(folder):
  return open_searcher(folder)


def expected_ids(searcher, feature, without=()):
  """All ids by a NumPy product and sort."""
  ids = sorted(set(searcher.index.entries()) - set(without))
  scores = searcher.index.get(ids).features @ feature
  return [ids[place] for place in np.argsort(-scores, kind="stable")]


def test_search_ranks_what_the_text_makes_of_the_image(searcher, folder):
  file = folder / "images" / "004.png"
  composed = searcher.bundle.compose([file], ["red striped"])[0]
  results = searcher.search(str(file), ["red striped"], k=7)
  assert [result.id for result in results] == expected_ids(searcher, composed)[:7]
  kept = searcher.index.get([results[0].id])
  assert results[0].score == pytest.approx(float(kept.features[0] @ composed), abs=1e-6)
  assert (results[0].caption, results[0].path) == (kept.entries[0].caption, kept.entries[0].path)
  assert Image.open(io.BytesIO(results[0].thumbnail)).size == (10, 12)


def test_a_reference_of_the_index_is_not_encoded_and_not_its_own_answer(searcher):
  by_file = searcher.from_image(searcher.index.get(["004.png"]).entries[0].path)
  searcher.bundle._programs["encode_gallery"].reset_mock()
  query = searcher.from_reference("004.png")
  assert searcher.bundle._programs["encode_gallery"].call_count == 0
  np.testing.assert_allclose(query.feature, by_file.feature, atol=1e-6)
  assert query.norm == pytest.approx(by_file.norm, rel=1e-6)
  found = [result.id for result in searcher.search("004.png", k=NUM_IMAGES)]
  assert found == expected_ids(searcher, query.feature, without=["004.png"])
  assert searcher.rank([by_file], 1)[0][0].id == "004.png"


def test_texts_are_turns_each_from_the_query_before(searcher):
  bundle = searcher.bundle
  start = searcher.from_id("004.png")
  first, norms = bundle.compose_features_with_norms(start.feature[None], ["red"], np.array([start.norm], np.float32))
  second, _ = bundle.compose_features_with_norms(first, ["blue"], norms)
  found = [result.id for result in searcher.search("004.png", ["red", "blue"], k=10)]
  assert found == expected_ids(searcher, second[0], without=["004.png"])[:10]
  assert found != [result.id for result in searcher.search("004.png", ["blue"], k=10)]


def test_weights_pull_towards_the_reference_and_the_text_alone(searcher):
  query = searcher.from_id("004.png")
  composed = searcher.refine(query, "red").feature
  pulled = composed + 0.5 * query.feature + 2.0 * searcher.bundle.text_only(["red"])[0]
  refined = searcher.refine(query, "red", image_weight=0.5, text_weight=2.0)
  np.testing.assert_allclose(refined.feature, pulled / np.linalg.norm(pulled), atol=1e-6)


def test_a_batch_of_queries_is_each_of_them_alone(searcher):
  queries = [searcher.from_id(id) for id in ("000.png", "002.png", "box/001.png")]
  texts, image_weights, text_weights = ["red", "blue", "striped blue"], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]
  together = searcher.refine_many(queries, texts, image_weights, text_weights)
  for query, one, *settings in zip(together, queries, texts, image_weights, text_weights, strict=True):
    np.testing.assert_allclose(query.feature, searcher.refine(one, *settings).feature, atol=1e-6)
  found = searcher.rank(together, 5, exclude=["004.png", "006.png"])
  for results, query in zip(found, together, strict=True):
    assert [r.id for r in results] == expected_ids(searcher, query.feature, ["004.png", "006.png", query.reference_id])[
      :5
    ]
  assert searcher.refine_many([], []) == []
  assert searcher.rank([], 3) == []


def test_a_query_of_length_0_is_refused_and_those_beside_it_are_not(folder):
  searcher = open_searcher(folder)
  searcher.bundle._programs["compose_features"] = lambda weights, features, norms, tokens: (features, norms)
  query = searcher.from_id("004.png")
  with pytest.raises(
    InputError, match="Nothing is left to search for: the text 'red' and the weights cancel the image"
  ):
    searcher.refine(query, "red", image_weight=-1.0)
  batching = Batching(functools.partial(answer, searcher))
  asked = [Question(query, ("red",), weight, k=3) for weight in (0.0, -1.0, -0.9)]
  with concurrent.futures.ThreadPoolExecutor(3) as threads:
    futures = [threads.submit(batching, question) for question in asked]
  assert [result.id for result in futures[0].result().results] == [it.id for it in futures[2].result().results]
  with pytest.raises(InputError, match="Nothing is left"):
    futures[1].result()


def test_a_composer_of_images_takes_one_turn(folder):
  searcher = open_searcher(folder, composes_features=False)
  file = folder / "images" / "004.png"
  composed = searcher.bundle.compose([file], ["red"])[0]
  query = searcher.refine(searcher.from_id("004.png"), "red")
  np.testing.assert_allclose(query.feature, composed, atol=1e-6)
  with pytest.raises(InputError, match="needs the reference image itself"):
    searcher.refine(query, "blue")


def test_sixteen_threads_find_what_one_does(searcher):
  ids = sorted(searcher.index.entries())[:16]
  alone = [searcher.search(id, ["red"], k=5) for id in ids]
  other = open_searcher(pathlib.Path(searcher.index._folder).parent)
  with concurrent.futures.ThreadPoolExecutor(16) as threads:
    assert list(threads.map(lambda id: other.search(id, ["red"], k=5), ids)) == alone


def test_what_cannot_be_searched_is_said(searcher):
  with pytest.raises(InputError, match=r"nobody.png cannot be read"):
    searcher.search("nobody.png", ["red"])
  with pytest.raises(InputError, match="has no nobody.png"):
    searcher.from_id("nobody.png")
  with pytest.raises(InputError, match="k is 0, expected at least 1"):
    searcher.search("000.png", k=0)
  with pytest.raises(InputError, match="no word of '赤い' is known to the model"):
    searcher.search("000.png", ["red", "赤い"])
  with pytest.raises(InputError, match="a text is blank: say what should differ"):
    searcher.search("000.png", ["red", " "])


def test_the_command_prints_a_table_or_json_and_draws(searcher, tmp_path, capsys):
  results = searcher.search("004.png", ["red", "blue"], k=7)
  arguments = {"k": 7, "picture": tmp_path / "new" / "picture.png"}
  search(searcher, "004.png", ["red", "blue"], as_json=False, **arguments)
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[2] for line in lines[1:8]] == [result.id for result in results]
  assert lines[1].split()[1] == f"{results[0].score:.4f}"
  assert Image.open(tmp_path / "new" / "picture.png").width > 700
  search(searcher, results[0].path, ["red", "blue"], as_json=True, **arguments)
  printed = json.loads(capsys.readouterr().out)
  assert [row["rank"] for row in printed] == [1, 2, 3, 4, 5, 6, 7]
  assert printed[0].keys() == {"rank", "id", "score", "caption", "path"}


def test_a_picture_shows_the_first_results_of_many(searcher, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(search_command, "MAX_DRAWN", 5)
  heights = []
  for k in (5, 20):
    search_command.search(searcher, "004.png", ["red"], k=k, as_json=True, picture=tmp_path / "picture.png")
    assert len(json.loads(capsys.readouterr().out)) == k
    heights.append(Image.open(tmp_path / "picture.png").height)
  assert heights[0] == heights[1]


def test_the_command_names_words_that_the_model_does_not_know(searcher, tmp_path, capsys):
  texts = ["red, größer", "blue and blue"]
  search(searcher, "004.png", texts, k=2, as_json=True, picture=tmp_path / "picture.png")
  out, err = capsys.readouterr()
  assert err == "The model does not know, and leaves out: grer, and\n"
  assert len(json.loads(out)) == 2


def test_the_package_gives_the_searcher_and_imports_nothing_before():
  program = "import sys, composeret_jax; assert 'jax' not in sys.modules; print(composeret_jax.Searcher.__name__)"
  result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert result.stdout == "Searcher\n", result.stderr
  with pytest.raises(AttributeError, match="no attribute 'Sercher'"):
    _ = composeret_jax.Sercher


SEARCH = """
from composeret_jax.serving.index import open_index
from composeret_jax.serving.searcher import Searcher
from tests.fakes.fake_bundle import fake_bundle
print([result.id for result in Searcher(fake_bundle(), open_index(sys.argv[1])).search("004.png", ["red"], k=3)])
"""


def test_search_needs_only_a_bundles_packages(searcher, folder):
  allowed = SEARCH.replace("from tests", "ALLOWED += ('tests',)\nfrom tests")
  printed = hidden_packages.run(allowed, str(folder / "index"))
  assert printed.strip() == str([result.id for result in searcher.search("004.png", ["red"], k=3)])
