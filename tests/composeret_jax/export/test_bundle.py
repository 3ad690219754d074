"""Bundles of runs on tiny data: exported, opened, and compared with the evaluation."""

import hashlib
import shutil

from jax import export as jax_export
import numpy as np
from PIL import Image
import pytest

from composeret_jax.export import bundle_files
from composeret_jax.export.bundle import export
from composeret_jax.export.programs import PLATFORMS
from composeret_jax.serving.bundle import layout, load
from composeret_jax.serving.bundle.inputs import TokenBatches
from composeret_jax.training.run import open_run
from configs import models
from data_pipelines.input_error import InputError
from data_pipelines.pixels.decode import decode_image
from data_pipelines.texts.vocabulary import Vocabulary
from tests.fakes import hidden_packages, tiny, tiny_bert
from tests.fakes.exported import exported, names
from tests.fakes.fake_bundle import fake_bundle
from tests.fakes.slow import slow


@pytest.fixture
def folder(original, tmp_path):
  """A copy of the ComposeAE's bundle."""
  return shutil.copytree(original[0], tmp_path / "bundle")


def unit(features):
  return features / np.linalg.norm(features, axis=1, keepdims=True)


def check_equals_evaluation(bundle, run, features):
  """Features to 1e-5, and from them the evaluation's recalls exactly, by NumPy's sort."""
  dataset = run.dataset
  pixels = dataset.gallery_pixels[np.arange(len(dataset.gallery))]
  gallery, norms = bundle.encode_with_norms(pixels)
  np.testing.assert_allclose(gallery, unit(features.gallery), atol=1e-5)
  np.testing.assert_allclose(norms, np.linalg.norm(features.images, axis=1), rtol=1e-5)
  references, texts = dataset.queries.references, dataset.queries.texts
  composed = bundle.compose(pixels[references], texts)
  np.testing.assert_allclose(composed, unit(features.composed), atol=1e-5)
  np.testing.assert_allclose(bundle.text_only(texts), unit(features.text_only), atol=1e-5)
  assert bundle.info["mean_norm"] == pytest.approx(norms.mean(), rel=1e-5)

  scores = composed @ gallery.T
  scores[np.arange(len(scores)), references] = -np.inf
  labels = np.array(dataset.gallery.labels)[np.argsort(-scores, axis=1, kind="stable")]
  hits = labels == np.array(dataset.queries.target_labels)[:, None]
  for k in (1, 10):
    recall = hits[:, :k].any(axis=1).mean()
    assert recall == bundle.info["metrics"][f"R@{k}"] == run.evaluator.count(features).metrics[f"R@{k}"]
  if bundle.composes_features:
    from_features = bundle.compose_features(gallery[references], texts, norms[references])
    np.testing.assert_allclose(from_features, composed, atol=1e-5)


def test_an_images_feature_does_not_depend_on_its_batch(original):
  bundle = original[1]
  pixels = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), dtype=np.uint8)
  features, norms = bundle.encode_with_norms(pixels)
  for count in (1, 2, 5, 8, 9, 33, 64, 65):
    own, own_norms = bundle.encode_with_norms(pixels[:count])
    np.testing.assert_allclose(own, features[:count], atol=1e-6)
    np.testing.assert_allclose(own_norms, norms[:count], rtol=1e-6)
  others = pixels[[0, 1, *range(40, 43)]]  # another three beside the first two: the same program, the same place
  assert bundle.encode(others)[:2].tobytes() == bundle.encode(pixels[:5])[:2].tobytes()


def test_only_three_batch_sizes_are_compiled():
  bundle = fake_bundle()
  for count in range(1, 131):
    bundle.encode(np.zeros((count, 8, 8, 3), np.uint8))
  calls = bundle._programs["encode_gallery"].call_args_list
  assert {len(call.args[1]) for call in calls} == {1, 8, 64}


def test_it_gives_the_evaluations_features_and_recalls(original):
  check_equals_evaluation(*original[1:])


@pytest.mark.parametrize(
  # compose_ae is `original`; MagicLens' gallery follows a rule of its own (tests/runs/test_magic_lens.py).
  "model",
  [
    name if name == "tirg_last_conv" else slow(name)
    for name in models.MODELS
    if name not in ("compose_ae", "magic_lens")
  ],
)
def test_every_composer(config, tmp_path, model):
  fields = models.get_config(model)
  for field in ("composer", "composer_options", "radius", "train_radius", "loss_weights"):
    config.model[field] = fields[field]
  bundle, run, features = exported(config, tmp_path)
  check_equals_evaluation(bundle, run, features)
  assert bundle.composes_features == (model != "tirg_last_conv")
  if not bundle.composes_features:
    assert not (tmp_path / "bundle" / "compose_features.stablehlo").exists()
    with pytest.raises(InputError, match="needs the image, not its feature"):
      bundle.compose_features(unit(features.gallery)[:1], ["dark"])


@pytest.mark.slow  # a training and an export
@pytest.mark.parametrize("fine_tune", [False, slow(True)])
@pytest.mark.parametrize("projection_dim", [slow(0), 6])
def test_bert_answers_texts_that_the_run_never_saw(config, tmp_path, fine_tune, projection_dim, caplog):
  bert = tiny_bert.make(tmp_path / "bert")
  config.model.text_encoder.update(name="bert", path=str(bert), fine_tune=fine_tune, projection_dim=projection_dim)
  bundle, run, features = exported(config, tmp_path)
  shutil.rmtree(bert)
  check_equals_evaluation(bundle, run, features)
  one, other = bundle.text_only(["black and long", "blacker"])
  assert np.abs(one - other).max() > 1e-4
  bundle.text_only(["long " * 30])
  assert "1 of 1 texts have more than the 12 word pieces" in caplog.text


@pytest.mark.slow  # a training and an export
def test_the_average_of_the_parameters_is_exported(config, tmp_path):
  config.ema_decay = 0.9
  check_equals_evaluation(*exported(config, tmp_path))


@pytest.mark.slow  # a training and an export
def test_a_frozen_trunk_is_whole_in_the_bundle(config, tmp_path):
  file = tmp_path / "trunk.safetensors"
  tiny.write_trunk(config, file, seed=0)
  config.model.image_encoder.update(pretrained=str(file), frozen=True)
  bundle, run, features = exported(config, tmp_path)
  config.model.image_encoder.frozen = False
  pixels = open_run(config, tmp_path / "other").dataset.gallery_pixels[np.arange(len(features.images))]
  np.testing.assert_allclose(bundle.encode(pixels), unit(features.images), atol=1e-5)
  queries = run.dataset.queries
  composed = bundle.compose(pixels[queries.references], queries.texts)
  np.testing.assert_allclose(composed, unit(features.composed), atol=1e-5)


@pytest.mark.parametrize("num", [1, 3, 64, 65])
def test_rows_are_the_same_in_any_batch(original, num):
  _, bundle, run, _ = original
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (num, 16, 16, 3)).astype(np.uint8)
  texts = [("dark", "light medium", "")[i % 3] for i in range(num)]
  alone = [bundle.compose_with_norms(images[i : i + 1], texts[i : i + 1]) for i in (0, num - 1)]
  composed, norms = bundle.compose_with_norms(images, texts)
  assert composed.shape == (num, bundle.feature_dim) and composed.dtype == norms.dtype == np.float32
  np.testing.assert_allclose(composed[[0, -1]], np.concatenate([features for features, _ in alone]), atol=1e-6)
  np.testing.assert_allclose(norms[[0, -1]], np.concatenate([norm for _, norm in alone]), rtol=1e-5)
  np.testing.assert_allclose(bundle.encode(images)[:1], bundle.encode(images[:1]), atol=1e-6)


def test_nothing_gives_no_rows(original):
  assert original[1].encode([]).shape == (0, original[1].feature_dim)
  assert original[1].text_only([]).shape == (0, original[1].feature_dim)


def test_an_image_is_the_same_in_every_form(original, raw_mit_states):
  bundle = original[1]
  path = next((raw_mit_states / "images").rglob("*.jpg"))  # 24 x 20 pixels
  with Image.open(path) as opened:
    image = opened.convert("RGB")
  forms = [path, str(path), path.read_bytes(), image, np.asarray(image), decode_image(path.read_bytes(), 16, "x")]
  features = bundle.encode(forms)
  np.testing.assert_allclose(features, np.repeat(features[:1], len(forms), axis=0), atol=1e-6)


def test_a_missing_length_is_the_gallerys_mean(original):
  _, bundle, _, features = original
  gallery = unit(features.gallery)[:2]
  mean = np.full(2, np.linalg.norm(features.images, axis=1).mean(), np.float32)
  expected = bundle.compose_features(gallery, ["dark", "light"], mean)
  np.testing.assert_allclose(bundle.compose_features(gallery, ["dark", "light"]), expected, atol=1e-6)
  assert np.abs(bundle.compose_features(gallery, ["dark", "light"], 3 * mean) - expected).max() > 1e-4


def test_a_composed_query_can_be_turned_again(original):
  _, bundle, run, _ = original
  pixels = run.dataset.gallery_pixels[np.arange(2)]
  once = bundle.compose_features_with_norms(*bundle_rows(bundle.encode_with_norms(pixels), ["dark", "light"]))
  from_pixels = bundle.compose_with_norms(pixels, ["dark", "light"])
  for one, other in zip(once, from_pixels, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
  twice = bundle.compose_features(once[0], ["medium", "medium"], once[1])
  np.testing.assert_allclose(np.linalg.norm(twice, axis=1), 1, atol=1e-5)


def bundle_rows(encoded, texts):
  features, norms = encoded
  return features, texts, norms


def test_long_texts_are_cut_with_a_warning(caplog):
  tokens = TokenBatches(Vocabulary(("dark", "light")), max_length=10)
  np.testing.assert_array_equal(tokens(["light dark", ""]), [[2, 1] + [-1] * 6, [-1] * 8])
  assert not caplog.messages
  np.testing.assert_array_equal(tokens(["dark " * 9]), [[1] * 9 + [-1]])
  np.testing.assert_array_equal(tokens(["dark " * 10 + "light", "light"]), [[1] * 10, [2] + [-1] * 9])
  (warning,) = caplog.messages
  assert warning.startswith("1 of 2 texts have more than the 10 words")


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda b: b.encode("shirt.jpg"), "images is a single str, expected a list"),
    (lambda b: b.encode([np.zeros((4, 4, 3), np.float32)]), r"image 0 is an array float32\[4, 4, 3\], expected uint8"),
    (lambda b: b.encode([b"no image"]), "image 0: not a readable image"),
    (lambda b: b.encode(["nowhere.jpg"]), "nowhere.jpg cannot be read: No such file"),
    (lambda b: b.text_only("dark"), "texts is a single str, expected a list"),
    (lambda b: b.compose([b""], ["dark", "light"]), "2 texts for 1 references"),
    (lambda b: b.compose_features(np.zeros((1, 3)), ["dark"]), r"features have shape \[1, 3\], expected \[1, 16\]"),
  ],
)
def test_what_cannot_be_used_is_named(original, call, message):
  with pytest.raises(InputError, match=message):
    call(original[1])


def test_programs_run_everywhere_and_hold_no_weights(original):
  folder, bundle, _, _ = original
  for name in bundle.info["programs"]:
    content = (folder / layout.program_file(name)).read_bytes()
    assert jax_export.deserialize(bytearray(content)).platforms == PLATFORMS
    assert b".py" not in content  # where the sources were is nobody's business
  assert bundle.info["arrays"]["params/image_encoder/head/kernel"] == {"dtype": "F32", "shape": [4, 16]}


def test_the_files_are_those_of_the_description(original):
  folder, bundle, _, _ = original
  assert names(folder) == sorted([*bundle.info["files"], "bundle.json", "bundle.sha256"])
  assert bundle.fingerprint == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
  assert (bundle.info["step"], bundle.image_size, bundle.info["config"]["data"]["image_size"]) == (2, 16, 16)


def test_files_have_the_mode_that_the_umask_gives(original):
  plain = original[0].parent / "plain"
  plain.write_bytes(b"")
  assert {file.stat().st_mode for file in original[0].iterdir()} == {plain.stat().st_mode}


def test_an_export_that_fails_half_way_leaves_what_was_there(original, folder, config, monkeypatch):
  run = original[2].workdir

  def fail(*_):
    raise RuntimeError("half-way")

  monkeypatch.setattr(bundle_files, "write_info", fail)
  config.num_train_steps = 2
  parent = folder.parent
  with pytest.raises(RuntimeError, match="half-way"):
    export(config, run, parent / "new")
  assert names(parent) == ["bundle"]
  before = load(folder).fingerprint
  with pytest.raises(RuntimeError, match="half-way"):
    export(config, run, folder)
  assert load(folder).fingerprint == before
  monkeypatch.undo()
  export(config, run, folder)
  assert load(folder).fingerprint == before  # the same state, the same bundle
  assert names(parent) == ["bundle"]


KILLED = """
import os, pathlib, signal, sys
from composeret_jax.export import bundle as export
with export.placed(pathlib.Path(sys.argv[1])) as partial:
  (partial / "weights.safetensors").write_bytes(b"half")
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_export_leaves_no_bundle(tmp_path):
  import signal
  import subprocess
  import sys

  result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "bundle")], capture_output=True)
  assert result.returncode == -signal.SIGKILL
  assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_not_overwritten(config, tmp_path):
  (tmp_path / "notes.txt").write_text("mine")
  with pytest.raises(InputError, match="is there and is no bundle"):
    export(config, tmp_path / "run", tmp_path)
  assert names(tmp_path) == ["notes.txt"]


def test_a_strangers_bundle_json_does_not_make_a_folder_a_bundle(config, tmp_path):
  (tmp_path / "src").mkdir()
  (tmp_path / "bundle.json").write_text('{"name": "app"}')
  (tmp_path / "src" / "thesis.txt").write_text("mine")
  with pytest.raises(InputError, match="is there and is no bundle: it is not overwritten"):
    export(config, tmp_path / "run", tmp_path)
  assert (tmp_path / "src" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["notes.txt", "src/notes.txt", "encode_gallery.onnx"])
def test_a_bundle_with_other_files_is_not_overwritten(folder, config, tmp_path, name):
  (folder / name).parent.mkdir(exist_ok=True)
  (folder / name).write_text("mine")
  with pytest.raises(InputError, match=f"does not list: {name.partition('/')[0]}. It is not overwritten"):
    export(config, tmp_path / "run", folder)
  assert (folder / name).read_text() == "mine"


def test_without_a_checkpoint_there_is_nothing_to_export(config, tmp_path):
  with pytest.raises(InputError, match=r"run is no folder: there is no checkpoint"):
    export(config, tmp_path / "run", tmp_path / "bundle")
  (tmp_path / "run").mkdir()
  with pytest.raises(InputError, match="has no checkpoint"):
    export(config, tmp_path / "run", tmp_path / "bundle")
  assert not (tmp_path / "bundle").exists()


PROGRAM = """
from composeret_jax.serving.bundle import load
import numpy as np
bundle = load(sys.argv[1])
pixels = np.load(sys.argv[2], allow_pickle=False)
features, norms = bundle.encode_with_norms(pixels)
composed = [bundle.compose(pixels, ["dark", "light"]), bundle.compose_features(features, ["dark", "light"], norms)]
np.save(sys.argv[3], np.stack([features, *composed, bundle.text_only(["dark", "light"])]))
third_party = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(name for name in third_party if not name.startswith("_")))
"""


def test_it_needs_few_packages(original, tmp_path):
  folder, bundle, run, _ = original
  pixels = run.dataset.gallery_pixels[np.arange(2)]
  np.save(tmp_path / "pixels.npy", pixels)
  imported = hidden_packages.run(PROGRAM, str(folder), str(tmp_path / "pixels.npy"), str(tmp_path / "features.npy"))
  assert "jax" in imported and "flax" not in imported and "jaxtyping" not in imported
  composed, texts = bundle.compose(pixels, ["dark", "light"]), bundle.text_only(["dark", "light"])
  expected = [bundle.encode(pixels), composed, composed, texts]
  np.testing.assert_allclose(np.load(tmp_path / "features.npy"), expected, atol=1e-5)
