"""Bundles on the hub, pushed and loaded over HTTP: a stand-in on this machine answers as the hub does."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

from huggingface_hub import ModelCard
import numpy as np
import pytest

from composeret_jax.export.model_card import model_card
from composeret_jax.export.push import push_bundle
from composeret_jax.serving.bundle import layout, load
from data_pipelines.input_error import InputError
from tests.fakes import hidden_packages, tiny_tower
from tests.fakes.fake_hub import fake_hub

ROOT = pathlib.Path(__file__).parents[3]
REPO = "lab/tiny-model"

LOAD = """
import sys
import numpy as np
from composeret_jax import load_bundle
bundle = load_bundle(sys.argv[1])
print(repr(bundle))
np.save(sys.argv[2], bundle.compose([np.full((20, 20, 3), 90, np.uint8)], [sys.argv[3]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """The bundle in tests/data, a trained ComposeAE."""
  folder = tmp_path_factory.mktemp("bundle")
  with tarfile.open(ROOT / "tests" / "data" / "before_the_move.tar.gz") as archive:
    members = [member for member in archive if "/bundle/" in member.name]
    archive.extractall(folder, members, filter="data")
  return folder / "before_move" / "bundle"


@pytest.fixture(scope="module")
def info(folder):
  return layout.read_info(folder)[0]


@pytest.fixture
def hub():
  with fake_hub() as hub:
    yield hub


def environment(hub, tmp_path):
  """No token and no cache of the user's, and large files by HTTP."""
  own = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_x"}
  return os.environ | own | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}


def python(program, *arguments, env):
  command = [sys.executable, "-c", program, *map(str, arguments)]
  return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300)


def push(*arguments, env):
  command = "from composeret_jax.command.console import command; command()"
  return python(command, "push", *arguments, env=env)


def test_a_bundle_is_pushed_and_loaded_again(folder, hub, tmp_path):
  bundle = load(folder)
  towers = tiny_tower.make(tmp_path / "towers")
  env = environment(hub, tmp_path)
  options = [f"--towers={towers}", "--license=apache-2.0", "--private"]
  done = push(f"--bundle={folder}", f"--repo={REPO}", *options, env=env)
  assert done.returncode == 0, done.stderr
  assert done.stdout == f"Pushed: {hub.endpoint}/{REPO}\n"
  files = hub.repos[REPO]
  assert {path.name: path.read_bytes() for path in folder.iterdir()}.items() <= files.items()
  assert {f"towers/{path.name}": path.read_bytes() for path in towers.iterdir()}.items() <= files.items()
  assert len([line for line in hub.requests if "/commit/" in line]) == 1 and hub.private[REPO]

  text = bundle.info["example_texts"][0]
  done = python(LOAD, f"hf://{REPO}", tmp_path / "there.npy", text, env=env)
  assert done.returncode == 0, done.stderr
  assert done.stdout == f"{bundle!r}\n"
  here = bundle.compose([np.full((20, 20, 3), 90, np.uint8)], [text])
  np.testing.assert_array_equal(np.load(tmp_path / "there.npy"), here)
  local = tmp_path / "cache" / "composeret_jax" / "hub" / "lab--tiny-model" / "main"
  assert not (local / "towers").exists()

  offline = env | {"HF_HUB_OFFLINE": "1"}
  before = len(hub.requests)
  done = python(LOAD, f"hf://{REPO}", tmp_path / "offline.npy", text, env=offline)
  assert done.returncode == 0, done.stderr
  assert len(hub.requests) == before
  np.testing.assert_array_equal(np.load(tmp_path / "offline.npy"), here)


def test_a_repository_that_is_not_there_is_named(hub, tmp_path):
  done = python(LOAD, "hf://lab/nothing", tmp_path / "x.npy", "red", env=environment(hub, tmp_path))
  assert "InputError: hf://lab/nothing could not be fetched from the hub: " in done.stderr


@pytest.mark.parametrize("address", ["hf://", "hf://model", "hf://a/b/c", "hf://../..", "hf://a/b@../c"])
def test_an_address_that_is_none_is_refused(address):
  with pytest.raises(InputError, match="expected hf://ORG/NAME"):
    load(address)


def test_without_huggingface_hub_the_package_is_named():
  program = (
    "from composeret_jax import load_bundle\ntry:\n  load_bundle('hf://a/b')\nexcept Exception as error: print(error)"
  )
  assert "hf://a/b needs huggingface_hub: pip install huggingface_hub" in hidden_packages.run(program)


def test_the_card_says_what_the_run_was(info):
  card = ModelCard(model_card(REPO, info, "apache-2.0", has_towers=False))
  assert card.data.license == "apache-2.0"
  recalls = {result.metric_name: result.metric_value for result in card.data.eval_results}
  assert recalls["R@10"] == info["metrics"]["R@10"]
  assert card.data.eval_results[0].dataset_type == "mit_states"
  for words in (
    f'load_bundle("hf://{REPO}")',
    "| data | mit_states |",
    "| composer | compose_ae |",
    "| loss | batch_based_classification |",
    "| steps | 4 |",
    "composed noun",
    info["example_texts"][0],
    "`apache-2.0`",
  ):
    assert words in card.text
  assert "towers/" not in card.text and "template" not in card.text


def test_the_card_names_the_template_of_its_recalls(info):
  texts = "a photo of $ that {caption_0} and {caption_1} | a photo of $ that {caption_1} and {caption_0}"
  card = model_card(REPO, info | {"texts": texts}, "", has_towers=False)
  assert f"the test split of mit_states, with texts in the template `{texts}`." in card


def test_the_card_names_hub_models_and_no_path_of_the_machine(info, tmp_path, monkeypatch):
  (tmp_path / "mine" / "towers").mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  info = json.loads(json.dumps(info))
  info["config"]["data"]["dir"] = "/home/me/data"
  info["config"]["model"]["image_encoder"]["pretrained"] = "openai/clip-vit-base-patch32"
  info["config"]["model"]["text_encoder"]["path"] = "mine/towers"
  card = ModelCard(model_card(REPO, info, "", has_towers=True))
  assert card.data.base_model == ["openai/clip-vit-base-patch32"] and card.data.license == "unknown"
  assert 'AutoModel.from_pretrained("lab/tiny-model", subfolder="towers")' in card.text
  assert "The authors have stated none" in card.text
  assert "/home/me" not in card.content and "mine/towers" not in card.content


def test_what_cannot_be_pushed_is_refused_before_the_hub_is_asked(folder, tmp_path):
  with pytest.raises(InputError, match="expected ORG/NAME"):
    push_bundle(folder, "tiny-model")
  damaged = shutil.copytree(folder, tmp_path / "bundle")
  (damaged / layout.WEIGHTS).write_bytes(b"x" * (damaged / layout.WEIGHTS).stat().st_size)
  with pytest.raises(InputError, match="has changed since it was exported"):
    push_bundle(damaged, REPO)
  (tmp_path / "empty").mkdir()
  with pytest.raises(InputError, match=r"has no config\.json, expected a folder that `composeret save_towers` wrote"):
    push_bundle(folder, REPO, towers=tmp_path / "empty")
