"""ComposeAE over ResNet-18 and an LSTM in PyTorch: what the JAX model is timed against."""

import torch
from torch import nn
from torch.nn import functional as F

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
  """Two 3x3 convolutions beside a shortcut."""

  def __init__(self, in_channels: int, channels: int, stride: int):
    super().__init__()
    self.residual = nn.Sequential(
      nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
      nn.BatchNorm2d(channels),
      nn.ReLU(inplace=True),
      nn.Conv2d(channels, channels, 3, padding=1, bias=False),
      nn.BatchNorm2d(channels),
    )
    self.shortcut = nn.Identity()
    if stride != 1 or in_channels != channels:
      self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    """[batch, in_channels, height, width] -> [batch, channels, height / stride, width / stride]."""
    return F.relu(self.residual(maps) + self.shortcut(maps), inplace=True)


class ImageEncoder(nn.Module):
  """ResNet-18, linear in place of the classifier; uint8 pixels [batch, height, width, 3] -> [batch, dim]."""

  def __init__(self, dim: int):
    super().__init__()
    blocks, channels = [], 64
    for stage in range(4):
      for index in range(2):
        blocks.append(BasicBlock(channels, 64 * 2**stage, 2 if stage > 0 and index == 0 else 1))
        channels = 64 * 2**stage
    self.trunk = nn.Sequential(
      nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
      nn.BatchNorm2d(64),
      nn.ReLU(inplace=True),
      nn.MaxPool2d(3, 2, padding=1),
      *blocks,
      nn.AdaptiveAvgPool2d(1),
      nn.Flatten(),
    )
    self.head = nn.Linear(channels, dim)
    self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
    self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

  def forward(self, pixels: torch.Tensor) -> torch.Tensor:
    """Raw features."""
    maps = pixels.permute(0, 3, 1, 2)  # channels last in memory
    return self.head(self.trunk((maps / 255.0 - self.mean) / self.std))


class TextEncoder(nn.Module):
  """Word embeddings, one LSTM layer, the output at the last word, linear; ids [batch, length], negative is padding."""

  def __init__(self, vocabulary_size: int, dim: int):
    super().__init__()
    self.embedding = nn.Embedding(vocabulary_size, dim)
    self.lstm = nn.LSTM(dim, dim, batch_first=True)
    self.dropout = nn.Dropout(0.1)
    self.head = nn.Linear(dim, dim)

  def forward(self, tokens: torch.Tensor) -> torch.Tensor:
    """Raw features [batch, dim]."""
    last = (tokens >= 0).sum(dim=1).clamp(min=1) - 1
    outputs, _ = self.lstm(self.embedding(tokens.clamp(min=0)))
    return self.head(self.dropout(outputs[torch.arange(len(tokens), device=tokens.device), last]))


def normed_mlp(in_dim: int, dim: int) -> nn.Sequential:
  """Batch norm, ReLU, linear, ReLU, linear."""
  return nn.Sequential(nn.BatchNorm1d(in_dim), nn.ReLU(), nn.Linear(in_dim, dim), nn.ReLU(), nn.Linear(dim, dim))


class Rotation(nn.Module):
  """Magnitude from the image, angle from the text."""

  def __init__(self, dim: int):
    super().__init__()
    self.magnitude = nn.Sequential(
      nn.BatchNorm1d(dim), nn.Linear(dim, dim), nn.Dropout(0.5), nn.ReLU(), nn.Linear(dim, dim)
    )
    self.angle = nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

  def forward(self, image: torch.Tensor, text: torch.Tensor, sign: float) -> tuple[torch.Tensor, ...]:
    """Magnitude, angle, real and imaginary part."""
    magnitude, angle = self.magnitude(image), self.angle(text)
    return magnitude, angle, magnitude * angle.cos(), sign * magnitude * angle.sin()


class ComposeAE(nn.Module):
  """The composer, its two decoders and the radius of the sphere; image and text features of one width."""

  def __init__(self, dim: int):
    super().__init__()
    self.linear_rotation, self.conv_rotation = Rotation(dim), Rotation(dim)
    self.linear_mapping = normed_mlp(2 * dim, dim)
    self.conv = nn.Conv1d(5, 64, 3, padding=1)
    self.conv_mapping = normed_mlp(64 * 16, dim)
    self.weights = nn.Parameter(torch.tensor([10.0, 1.0]))
    self.image_decoder, self.text_decoder = normed_mlp(dim, dim), normed_mlp(dim, dim)
    self.radius = nn.Parameter(torch.tensor(4.0))

  def forward(self, image: torch.Tensor, text: torch.Tensor, sign: float = 1.0) -> torch.Tensor:
    """The composed feature [batch, dim]; `sign` -1 turns back."""
    _, _, re, im = self.linear_rotation(image, text, sign)
    linear = self.linear_mapping(torch.cat([re, im], dim=1))
    magnitude, angle, re, im = self.conv_rotation(image, text, sign)
    signals = self.conv(torch.stack([magnitude, angle, image, re, im], dim=1))
    convolutional = self.conv_mapping(F.adaptive_max_pool1d(signals, 16).flatten(1))
    return self.weights[0] * linear + self.weights[1] * convolutional

  def on_sphere(self, features: torch.Tensor) -> torch.Tensor:
    """Scaled to the learned radius."""
    return self.radius * F.normalize(features.float(), dim=1)


class RetrievalModel(nn.Module):
  """Both encoders and the composer, called for the training loss."""

  def __init__(self, vocabulary_size: int, dim: int, loss: str):
    super().__init__()
    self.image_encoder = ImageEncoder(dim)
    self.text_encoder = TextEncoder(vocabulary_size, dim)
    self.composer = ComposeAE(dim)
    self.loss = PAIR_LOSSES[loss]

  def forward(self, reference: torch.Tensor, target: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The weighted loss of a batch of pixels and tokens."""
    features = self.image_encoder(reference), self.image_encoder(target), self.text_encoder(text)
    return total_loss(self.composer, *features, self.loss)


class ComposerOnly(nn.Module):
  """The composer over features that are given."""

  def __init__(self, dim: int, loss: str):
    super().__init__()
    self.composer = ComposeAE(dim)
    self.loss = PAIR_LOSSES[loss]

  def forward(self, reference: torch.Tensor, target: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The weighted loss of a batch of features."""
    return total_loss(self.composer, reference, target, text, self.loss)


def classification_loss(composed: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
  """Cross-entropy over the batch, the diagonal being right."""
  return F.cross_entropy(composed @ targets.T, torch.arange(len(composed), device=composed.device))


def soft_triplet_loss(composed: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
  """Every row of [composed; targets] as anchor against three random others."""
  vectors = torch.cat([composed, targets])
  anchors = torch.arange(len(vectors), device=vectors.device)
  positives = anchors.roll(len(composed))
  scores = torch.rand(len(vectors), len(vectors), device=vectors.device)
  scores[anchors, anchors] = scores[anchors, positives] = -1.0
  negatives = scores.topk(min(3, len(vectors) - 2)).indices
  to_positive = (vectors - vectors[positives]).square().sum(dim=1, keepdim=True)
  to_negatives = (vectors[:, None] - vectors[negatives]).square().sum(dim=2)
  return F.softplus(to_positive - to_negatives).mean()


PAIR_LOSSES = {"batch_based_classification": classification_loss, "soft_triplet": soft_triplet_loss}


def total_loss(composer: ComposeAE, reference, target, text, loss) -> torch.Tensor:
  """Main loss, two reconstructions and rotational symmetry, with ComposeAE's weights."""
  composed = composer(reference, text)
  main = loss(composer.on_sphere(composed), composer.on_sphere(target))
  image = F.mse_loss(composer.image_decoder(composed), reference)
  words = F.mse_loss(composer.text_decoder(composed), text)
  turned_back = composer(target, text, sign=-1.0)
  symmetry = loss(composer.on_sphere(turned_back), composer.on_sphere(reference))
  return main + 0.1 * image + 0.1 * words + 0.01 * symmetry
