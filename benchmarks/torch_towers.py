"""Fine-tuning CLIP's towers in PyTorch, by transformers' models: AdamW, SDPA; compiled, with autocast, on a GPU."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional as F
import transformers

from benchmarks.built_step import BuiltStep
from benchmarks.clip_towers import Towers

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class SummedTowers(torch.nn.Module):
  """CLIP4Cir's first stage: image plus text as composed feature, cosines times 100, cross-entropy over the batch."""

  def __init__(self, towers: Towers):
    super().__init__()
    shared = {"projection_dim": towers.projection_dim, "attn_implementation": "sdpa"}
    vision = transformers.CLIPVisionConfig(**towers.vision, **shared)
    text = transformers.CLIPTextConfig(**towers.text, **shared)
    self.image_tower = transformers.CLIPVisionModelWithProjection(vision)
    self.text_tower = transformers.CLIPTextModelWithProjection(text)
    self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
    self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

  def forward(self, reference: torch.Tensor, target: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The loss of pixels [batch, height, width, 3], uint8, and tokens [batch, length]."""
    composed = self.encode(reference) + self.text_tower(input_ids=text).text_embeds
    logits = 100 * F.normalize(composed.float(), dim=1) @ F.normalize(self.encode(target).float(), dim=1).T
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

  def encode(self, pixels: torch.Tensor) -> torch.Tensor:
    """The projected feature of each image."""
    images = (pixels.permute(0, 3, 1, 2) / 255.0 - self.mean) / self.std
    return self.image_tower(pixel_values=images).image_embeds


def build(batch: Mapping[str, np.ndarray], towers: Towers, dtype: str) -> BuiltStep:
  """One call does a step; the towers are compiled by themselves, so that the image tower is compiled once."""
  on_gpu = torch.cuda.is_available()
  device = torch.device("cuda" if on_gpu else "cpu")
  torch.set_float32_matmul_precision("high")
  torch.manual_seed(0)
  model = SummedTowers(towers).to(device).train()
  if on_gpu:
    model.image_tower.compile()
    model.text_tower.compile()
  optimizer = torch.optim.AdamW(model.parameters(), lr=2e-6, weight_decay=0.01, fused=True)
  arrays = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}

  def step() -> None:
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
      value = model(**arrays)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()

  wait = torch.cuda.synchronize if on_gpu else lambda: None
  num_parameters = sum(parameter.numel() for parameter in model.parameters())
  return BuiltStep(step, wait, num_parameters, torch.cuda.get_device_name() if on_gpu else "cpu")
