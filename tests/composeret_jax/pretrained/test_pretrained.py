"""ResNets from torchvision's names, against transformers' PyTorch models."""

import re

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from composeret_jax.models.encoders.resnet import normalise, ResNet
from composeret_jax.pretrained.resnet import load_trunk, trunk_slots
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from data_pipelines.input_error import InputError

SIZES = {"basic": (2, 2, 2, 2), "bottleneck": (3, 4, 6, 3)}  # ResNet-18 and ResNet-50


def test_resnet50_has_torchvisions_size():
  encoder = nnx.eval_shape(lambda: make("bottleneck", width=64))
  num_weights = sum(value.size for value in nnx.state(encoder.trunk, nnx.Param).flat_state().leaves)
  assert num_weights == 25_557_032 - 2_049_000  # torchvision's ResNet-50 less its classifier


@pytest.mark.parametrize("block", SIZES)
def test_maps_equal_pytorchs(block, tmp_path):
  torch = pytest.importorskip("torch", reason="the reference is a PyTorch model")
  reference = pytorch_resnet(block)
  tensors = {torchvision_name(name): value.numpy() for name, value in reference.state_dict().items()}
  tensors |= {"fc.weight": np.zeros((1000, 8), np.float32), "fc.bias": np.zeros(1000, np.float32)}
  save_file(tensors, tmp_path / "resnet.safetensors")
  encoder = resnet(block)
  load_trunk(str(tmp_path / "resnet.safetensors"), encoder.trunk)
  encoder.eval()
  pixels = np.random.default_rng(0).integers(0, 256, (2, 70, 70, 3)).astype(np.uint8)
  normalised = np.array(normalise(jnp.asarray(pixels))).transpose(0, 3, 1, 2)
  with torch.no_grad():
    expected = reference(torch.from_numpy(normalised)).last_hidden_state.numpy().transpose(0, 2, 3, 1)
  maps = np.asarray(nnx.jit(lambda trunk, images: trunk(images))(encoder.trunk, jnp.asarray(pixels)))
  np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_another_architecture_is_refused_and_nothing_is_written(tmp_path):
  save_file({"conv1.weight": np.ones((8, 3, 7, 7), np.float32), "stray": np.zeros(2)}, tmp_path / "model.safetensors")
  encoder = resnet("basic")
  before = np.array(encoder.trunk.stem.kernel[...])
  with pytest.raises(InputError) as error:
    load_trunk(str(tmp_path), encoder.trunk)
  message = str(error.value)
  assert "missing: layer1.0.conv1.weight (8, 8, 3, 3)" in message
  assert "left over: stray (2,)" in message
  assert "model.image_encoder" in message
  np.testing.assert_array_equal(encoder.trunk.stem.kernel[...], before)


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(InputError, match=r"config\.model\.image_encoder\.pretrained=.*/none/at\.all is no folder here"):
    load_trunk(str(tmp_path / "none" / "at.all"), resnet("basic").trunk)


def resnet(block):
  """Every variable is zero: drawing random ones takes longer than the tests."""
  graphdef, state = nnx.split(nnx.eval_shape(lambda: make(block, width=8)))
  return nnx.merge(graphdef, jax.tree.map(lambda array: jnp.zeros(array.shape, array.dtype), state))


def make(block, width):
  return ResNet(width=width, stage_sizes=SIZES[block], feature_dim=4, block=block, rngs=nnx.Rngs(0))


def pytorch_resnet(block):
  """transformers' ResNet with random weights and statistics; its bottleneck has the stride in the 3x3, as ours."""
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers", reason="the reference is its ResNetModel")
  expansion = {"basic": 1, "bottleneck": 4}[block]
  config = transformers.ResNetConfig(
    embedding_size=8,
    hidden_sizes=[8 * expansion * 2**stage for stage in range(4)],
    depths=list(SIZES[block]),
    layer_type=block,
  )
  torch.manual_seed(0)
  model = transformers.ResNetModel(config).eval()
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.uniform_(-0.5, 0.5)
      module.running_var.uniform_(0.5, 1.5)
      torch.nn.init.uniform_(module.weight, 0.5, 1.0)
      torch.nn.init.uniform_(module.bias, -0.5, 0.5)
  return model


def torchvision_name(name):
  name = re.sub(r"^embedder\.embedder\.convolution", "conv1", name)
  name = re.sub(r"^embedder\.embedder\.normalization", "bn1", name)
  name = re.sub(r"^encoder\.stages\.(\d)\.layers", lambda m: f"layer{int(m[1]) + 1}", name)
  name = re.sub(r"\.shortcut\.convolution", ".downsample.0", name)
  name = re.sub(r"\.shortcut\.normalization", ".downsample.1", name)
  name = re.sub(r"\.layer\.(\d)\.convolution", lambda m: f".conv{int(m[1]) + 1}", name)
  return re.sub(r"\.layer\.(\d)\.normalization", lambda m: f".bn{int(m[1]) + 1}", name)


def test_a_run_starts_from_the_file_and_resumes_without_it(config, tmp_path):
  file = tmp_path / "trunk.safetensors"
  config.model.image_encoder.pretrained = str(file)
  sizes = {name: config.model.image_encoder[name] for name in ("width", "stage_sizes", "feature_dim")}
  slots = trunk_slots(ResNet(**sizes, rngs=nnx.Rngs(0)).trunk)
  save_file({name: np.full(slot.shape, 0.25, np.float32) for name, slot in slots.items()}, file)
  run = open_run(config, tmp_path / "run")
  first = newest_state(run)
  with run.checkpoints as checkpoints:
    checkpoints.save(1, first)
  file.unlink()
  for state in (first, newest_state(open_run(config, tmp_path / "run"))):
    trunk = jax.tree.leaves(state.variables.params["image_encoder"]["trunk"])
    assert all((np.asarray(values) == 0.25).all() for values in trunk)
  with pytest.raises(InputError, match="is no folder here"):
    newest_state(open_run(config, tmp_path / "new"))
