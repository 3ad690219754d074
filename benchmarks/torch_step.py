"""The train step in PyTorch: eager float32 on a CPU; channels last, compiled, TF32 or bfloat16 autocast on a GPU."""

from collections.abc import Mapping

import numpy as np
import torch

from benchmarks import torch_combiner, torch_compose_ae
from benchmarks.built_step import BuiltStep


def build(
  batch: Mapping[str, np.ndarray],
  *,
  vocabulary_size: int,
  dim: int,
  loss: str,
  dtype: str,
  composer_only: bool,
  composer: str = "compose_ae",
  optimizer: str = "sgd",
) -> BuiltStep:
  """Options as jax_step's."""
  on_gpu = torch.cuda.is_available()
  device = torch.device("cuda" if on_gpu else "cpu")
  torch.set_float32_matmul_precision("high")  # TF32, as JAX by default
  torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
  if composer == "combiner":
    model = torch_combiner.CombinerOnly(dim)
  elif composer_only:
    model = torch_compose_ae.ComposerOnly(dim, loss)
  else:
    model = torch_compose_ae.RetrievalModel(vocabulary_size, dim, loss)
  model = model.to(device, memory_format=torch.channels_last)
  if optimizer == "adamw":
    moves = torch.optim.AdamW(_groups(model), lr=0.01, weight_decay=1e-6, fused=True)
  else:
    moves = torch.optim.SGD(_groups(model), lr=0.01, momentum=0.9, weight_decay=1e-6, fused=on_gpu)
  arrays = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
  loss_of = torch.compile(model) if on_gpu else model

  def step() -> None:
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
      value = loss_of(**arrays)
    moves.zero_grad(set_to_none=True)
    value.backward()
    moves.step()

  wait = torch.cuda.synchronize if on_gpu else lambda: None
  num_parameters = sum(parameter.numel() for parameter in model.parameters())
  return BuiltStep(step, wait, num_parameters, torch.cuda.get_device_name() if on_gpu else "cpu")


def _groups(model: torch.nn.Module) -> list[dict]:
  """The image encoder's trunk at a tenth of the learning rate."""
  trunk = [value for name, value in model.named_parameters() if name.startswith("image_encoder.trunk.")]
  rest = [value for name, value in model.named_parameters() if not name.startswith("image_encoder.trunk.")]
  return [{"params": rest}, {"params": trunk, "lr": 0.001}] if trunk else [{"params": rest}]
