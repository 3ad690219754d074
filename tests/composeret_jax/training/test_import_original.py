"""Checkpoints of the original programs: made here with the original names and random values, imported, evaluated."""

import contextlib
import sys
import zipfile

import jax
import numpy as np
import pytest

from composeret_jax.pretrained import original
from composeret_jax.pretrained.original import OriginalCheckpoint, read_checkpoint
from composeret_jax.training import train
from composeret_jax.training.import_original import EMBEDDING, import_checkpoint, save_checkpoint
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from configs.models import MODELS
from data_pipelines.input_error import InputError

STEP = 5
IMPORTABLE = ("tirg", "compose_ae", "real_space_concat_ae")
LAYER = ("weight", "bias")
BATCH_NORM = (*LAYER, "running_mean", "running_var", "num_batches_tracked")
TIRG_NAMES = {
  "a": (),
  "normalization_layer": ("norm_s",),
  "img_model.conv1": ("weight",),
  "img_model.bn1": BATCH_NORM,
  "img_model.layer1.0.conv1": ("weight",),
  "img_model.layer1.0.bn1": BATCH_NORM,
  "img_model.layer1.0.conv2": ("weight",),
  "img_model.layer1.0.bn2": BATCH_NORM,
  "img_model.fc.0": LAYER,
  "text_model.embedding_layer": ("weight",),
  "text_model.lstm": ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
  "text_model.fc_output.1": LAYER,
  "gated_feature_composer.1": BATCH_NORM,
  "gated_feature_composer.3": LAYER,
  "res_info_composer.1": BATCH_NORM,
  "res_info_composer.3": LAYER,
  "res_info_composer.5": LAYER,
}


@pytest.fixture
def config(config):
  return of_model(config, "tirg")


def of_model(config, name):
  """The tiny configuration with another composer and its losses."""
  model = MODELS[name]()
  config.model.composer, config.model.loss_weights = model.composer, model.loss_weights
  return config


def original_state_dict(run, seed=0):
  """Random values under the original names, in the shapes of a run's model."""
  rng = np.random.default_rng(seed)
  tensors = {}
  for name, slot in original.model_slots(run.model).items():
    tensors[name] = rng.uniform(0.1, 0.5, slot.shape).astype(np.float32)
    if name.endswith("running_var"):
      tensors[name.replace("running_var", "num_batches_tracked")] = np.array(STEP)
  return tensors


def test_names_of_tirg_are_the_originals(config, tmp_path):
  names = {f"{module}.{name}" for module, own in TIRG_NAMES.items() for name in own} | {"a"}
  assert original_state_dict(open_run(config, tmp_path)).keys() == names


@pytest.mark.parametrize("name", IMPORTABLE)
def test_imports_and_evaluates(config, tmp_path, capsys, name):
  config = of_model(config, name)
  run = open_run(config, tmp_path)
  tensors = original_state_dict(run)
  save_checkpoint(run, OriginalCheckpoint(STEP, tensors))

  state = newest_state(open_run(config, tmp_path))
  assert int(state.step) == STEP
  np.testing.assert_array_equal(state.variables.params["text_encoder"]["embedding"], tensors[EMBEDDING])
  np.testing.assert_array_equal(
    state.variables.batch_stats["image_encoder"]["trunk"]["stem_norm"]["mean"], tensors["img_model.bn1.running_mean"]
  )
  train.evaluate(config, tmp_path)
  assert f"Step {STEP}, test split:" in capsys.readouterr().out


def test_training_goes_on_from_the_imported_step_of_the_schedule(config, tmp_path):
  run = open_run(config, tmp_path)
  save_checkpoint(run, OriginalCheckpoint(STEP, original_state_dict(run)))
  counts = [
    leaf
    for path, leaf in jax.tree.leaves_with_path(newest_state(open_run(config, tmp_path)).optimizer_state)
    if "count" in jax.tree_util.keystr(path)
  ]
  assert [int(count) for count in counts] == [STEP]


def test_a_renamed_tensor_is_named(config, tmp_path):
  run = open_run(config, tmp_path)
  tensors = original_state_dict(run)
  tensors["gated_feature_composer.3.wait"] = tensors.pop("gated_feature_composer.3.weight")
  with pytest.raises(InputError) as error:
    save_checkpoint(run, OriginalCheckpoint(STEP, tensors))
  assert "missing: gated_feature_composer.3.weight (16, 24)" in str(error.value)
  assert "left over: gated_feature_composer.3.wait (16, 24)" in str(error.value)
  assert run.checkpoints.latest_step() is None


def test_another_vocabulary_is_said_to_be_one(config, tmp_path):
  run = open_run(config, tmp_path)
  tensors = original_state_dict(run)
  tensors[EMBEDDING] = tensors[EMBEDDING][:-1]
  with pytest.raises(InputError, match=r"has 6 rows, expected 7: the words of mit_states's training texts"):
    save_checkpoint(run, OriginalCheckpoint(STEP, tensors))


def test_a_workdir_with_checkpoints_is_left_alone(config, tmp_path):
  run = open_run(config, tmp_path)
  save_checkpoint(run, OriginalCheckpoint(STEP, original_state_dict(run)))
  again = open_run(config, tmp_path)
  with pytest.raises(InputError, match="empty --workdir"):
    save_checkpoint(again, OriginalCheckpoint(STEP, original_state_dict(again)))


def test_composers_whose_original_names_are_not_known_are_refused(config, tmp_path):
  run = open_run(of_model(config, "tirg_last_conv"), tmp_path)
  with pytest.raises(InputError, match="original weights of TirgLastConv cannot be read"):
    original.load({}, run.model)


def test_without_torch_the_message_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  file = tmp_path / "latest_checkpoint.pth"
  file.touch()
  with pytest.raises(InputError, match=r"pip install .*composeret-jax\[torch\]"):
    read_checkpoint(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(InputError, match="missing.pth is not a file"):
    read_checkpoint(tmp_path / "missing.pth")


@pytest.fixture
def torch():
  return pytest.importorskip("torch", reason="reading a .pth file needs the optional extra torch")


def test_imports_a_file(torch, config, tmp_path, capsys):
  tensors = original_state_dict(open_run(config, tmp_path / "names"))
  file = tmp_path / "latest_checkpoint.pth"
  parameter = torch.nn.Parameter(torch.zeros(1))
  optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.9)
  parameter.sum().backward()
  optimizer.step()
  state_dict = {name: torch.tensor(value) for name, value in tensors.items()}
  torch.save({"it": STEP, "opt": optimizer.state_dict(), "model_state_dict": state_dict}, file)

  import_checkpoint(config, tmp_path / "run", file)
  train.evaluate(config, tmp_path / "run")
  assert f"Step {STEP}, test split:" in capsys.readouterr().out


def test_another_file_is_refused(torch, tmp_path):
  file = tmp_path / "weights.pth"
  torch.save({"conv1.weight": torch.zeros(1)}, file)
  with pytest.raises(InputError, match=r"\['conv1.weight'\], expected an original checkpoint"):
    read_checkpoint(file)
  file.write_text("no weights")
  with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
    read_checkpoint(file)


def test_code_in_a_file_is_not_run(torch, tmp_path):
  class Code:
    def __reduce__(self):
      return (print, ("run",))

  file = tmp_path / "evil.pth"
  torch.save({"it": STEP, "model_state_dict": {}, "opt": Code()}, file)
  with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
    read_checkpoint(file)


def test_a_compressed_archive_is_not_unpacked(torch, tmp_path):
  torch.save({"it": 1, "model_state_dict": {}}, tmp_path / "plain.pth")
  packed = zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED)
  with zipfile.ZipFile(tmp_path / "plain.pth") as plain, packed:
    for name in plain.namelist():
      packed.writestr(name, plain.read(name))
  read_checkpoint(tmp_path / "plain.pth")
  with pytest.raises(InputError, match="is a compressed archive"):
    read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
  "content",
  [{"it": "x", "model_state_dict": {}}, {"it": 1, "model_state_dict": {"a": 3}}, {"it": 1, "model_state_dict": 2}],
)
def test_a_checkpoint_of_other_things_is_refused(torch, tmp_path, content):
  torch.save(content, tmp_path / "a.pth")
  with pytest.raises(InputError, match="holds another thing than tensors"):
    read_checkpoint(tmp_path / "a.pth")


def test_a_damaged_checkpoint_is_read_or_refused(torch, tmp_path):
  torch.save({"it": 1, "model_state_dict": {"a": torch.arange(8.0)}}, tmp_path / "a.pth")
  whole = np.frombuffer((tmp_path / "a.pth").read_bytes(), np.uint8)
  rng = np.random.default_rng(0)
  for _ in range(200):
    damaged = whole.copy()
    places = rng.integers(len(whole), size=rng.integers(1, 8))
    damaged[places] = rng.integers(0, 256, len(places), np.uint8)
    (tmp_path / "b.pth").write_bytes(damaged[: rng.integers(1, len(whole) + 1)].tobytes())
    with contextlib.suppress(InputError):
      read_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize("name", ["bert", "tower"])
def test_layers_that_the_original_lacks_are_named(config, tmp_path, name):
  config.model.text_encoder.update(name=name, path="unused", projection_dim=4)
  with pytest.raises(InputError, match="projection_dim is 4, expected 0"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "unused.pth")


def test_a_tower_has_no_place_for_the_original_trunk(config, tmp_path):
  config.model.image_encoder.update(name="tower", pretrained="unused")
  with pytest.raises(InputError, match=r"image_encoder\.name is tower, expected resnet"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "unused.pth")


def test_a_step_between_two_minings_is_refused(config, tmp_path):
  config.data.placement, config.hard_negatives.every_steps = "device", 3
  run = open_run(config, tmp_path)
  with pytest.raises(InputError, match=r"hard_negatives\.every_steps is 3, expected a divisor of 5"):
    save_checkpoint(run, OriginalCheckpoint(STEP, original_state_dict(run)))


def test_a_radius_that_is_not_trained_has_no_place_for_the_originals(config, tmp_path):
  config.model.train_radius = False
  with pytest.raises(InputError, match="train_radius is False, expected True"):
    import_checkpoint(config, tmp_path / "run", tmp_path / "unused.pth")
