"""Training the Combiner on given features in PyTorch: float32, batches gathered from whole tensors, fused AdamW."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


class Combiner(nn.Module):
  """residual + gate * text + (1 - gate) * image."""

  def __init__(self, dim: int):
    super().__init__()
    self.image_projection = _halved_relu(dim, 4 * dim)
    self.text_projection = _halved_relu(dim, 4 * dim)
    self.residual = nn.Sequential(*_halved_relu(8 * dim, 8 * dim), nn.Linear(8 * dim, dim))
    self.gate = nn.Sequential(*_halved_relu(8 * dim, 8 * dim), nn.Linear(8 * dim, 1), nn.Sigmoid())

  def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Features [batch, dim] to composed features [batch, dim]."""
    both = torch.cat([self.image_projection(image), self.text_projection(text)], dim=1)
    gate = self.gate(both)
    return self.residual(both) + gate * text + (1 - gate) * image


class CombinerOnly(nn.Module):
  """The Combiner over features that are given, called for the training loss."""

  def __init__(self, dim: int):
    super().__init__()
    self.combiner = Combiner(dim)
    self.radius = nn.Parameter(torch.tensor(10.0))

  def forward(self, reference: torch.Tensor, target: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """InfoNCE in both directions, of features [batch, dim]."""
    composed = F.normalize(self.combiner(reference, text).float(), dim=1)
    return info_nce(self.radius.square() * composed @ F.normalize(target, dim=1).T)


def info_nce(logits: torch.Tensor) -> torch.Tensor:
  """Cross-entropy along rows and columns, the diagonal being right."""
  diagonal = torch.arange(len(logits), device=logits.device)
  return (F.cross_entropy(logits, diagonal) + F.cross_entropy(logits.T, diagonal)) / 2


def _halved_relu(in_features: int, out_features: int) -> nn.Sequential:
  return nn.Sequential(nn.Linear(in_features, out_features), nn.ReLU(), nn.Dropout(0.5))


def build(
  images: np.ndarray,
  texts: np.ndarray,
  triplets: np.ndarray,
  *,
  batch_size: int,
  learning_rate: float,
  weight_decay: float,
) -> tuple[Callable[[int], float], int]:
  """A function that does some steps and returns the last one's loss, and the number of parameters."""
  torch.manual_seed(0)
  model = Combiner(images.shape[1])
  matrices = [param for param in model.parameters() if param.ndim > 1]
  biases = [param for param in model.parameters() if param.ndim == 1]
  groups = [{"params": matrices}, {"params": biases, "weight_decay": 0.0}]
  optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
  images, texts = torch.from_numpy(images), torch.from_numpy(texts)
  batches = _batches(torch.from_numpy(triplets), batch_size)

  def run(num_steps: int) -> float:
    for _ in range(num_steps):
      reference, target, text = next(batches)
      composed = F.normalize(model(images[reference], texts[text]), dim=1)
      logits = 100 * composed @ F.normalize(images[target], dim=1).T
      loss = info_nce(logits)
      optimizer.zero_grad(set_to_none=True)
      loss.backward()
      optimizer.step()
    return loss.item()

  return run, sum(param.numel() for param in model.parameters())


def _batches(triplets: torch.Tensor, batch_size: int) -> Iterator[tuple[torch.Tensor, ...]]:
  """Rows of references, targets and texts, in a new order each epoch; the last batch is left out where it is short."""
  while True:
    order = torch.randperm(len(triplets))
    for start in range(0, len(triplets) - batch_size + 1, batch_size):
      yield triplets[order[start : start + batch_size]].unbind(dim=1)
