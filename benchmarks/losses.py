"""The pair losses forward and backward: whole, in blocks, in PyTorch, and in a Python loop over the triplets.

python -m benchmarks.losses --batch_sizes=32,4096 --dim=512 --block_rows=256 --output=losses.json

`whole` and `blocks` are ours, by a call each. `in_a_step` is the whole one as a train step has it, with no call of its
own: the time of one of many steps of gradient descent on the features, all of them in one call. `loop` is NumPy, one
triplet at a time with the gradient written out, in as few operations as we know. `pytorch` takes all triplets at once,
`pytorch_loop` one at a time, and `published_loop` goes as the program of TIRG's authors does: all distances at once,
then a loop for the loss and one for the gradient, in NumPy (github.com/google/tirg, torch_functions.py). These three
run if torch is installed. Each runs in a process of its own on the same features and triplets. `gradient_error` is the
largest difference from the whole loss's gradient, as a fraction of its largest entry.
"""

import functools
import importlib.util
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from absl import app, flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders import best_seconds, peak_gigabytes, report, run_alone
from composeret_jax.train_step.losses.batch_based_classification import batch_classification_loss
from composeret_jax.train_step.losses.soft_triplet import soft_triplet_loss
from composeret_jax.train_step.triplets import sample_triplets

STEPS_A_CALL = 100

_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["32", "512", "4096"], "Batch sizes.")
_DIM = flags.DEFINE_integer("dim", 512, "Width of the features.", lower_bound=1)
_BLOCK_ROWS = flags.DEFINE_integer("block_rows", 256, "Rows at a time, for the blocked losses.", lower_bound=1)
_NUM_REPEATS = flags.DEFINE_integer("num_repeats", 5, "The shortest of so many calls counts.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_CONTENDER = flags.DEFINE_string("contender", None, "Runs this one alone, for --batch_sizes' first.")
_FOLDER = flags.DEFINE_string("folder", None, "Where the gradients are.")


def inputs(batch_size: int) -> tuple[np.ndarray, np.ndarray]:
  """Features [2, batch_size, dim] on the sphere and triplets of them, the same every time."""
  vectors = np.random.default_rng(0).standard_normal((2, batch_size, _DIM.value), dtype=np.float32)
  triplets = np.asarray(sample_triplets(jax.random.key(0), batch_size))
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), triplets


def soft_triplet_in_jax(features: np.ndarray, triplets: np.ndarray, *, block_rows: int):
  """Our soft triplet loss."""
  triplets = jnp.asarray(triplets)
  return _compiled(lambda pair: soft_triplet_loss(*pair, triplets, block_rows), features)


def soft_triplet_in_steps(features: np.ndarray, triplets: np.ndarray):
  """Steps of gradient descent with our soft triplet loss, too small to change its gradient."""
  triplets = jnp.asarray(triplets)
  gradient = jax.grad(lambda pair: soft_triplet_loss(*pair, triplets))

  def step(features, _):
    slopes = gradient(features)
    return features - 1e-9 * slopes, None

  def steps(features):
    return gradient(jax.lax.scan(step, features, length=STEPS_A_CALL - 1)[0])

  compiled, features = jax.jit(steps), jnp.asarray(features)
  return lambda: jax.block_until_ready(compiled(features))


def batch_classification_in_jax(features: np.ndarray, triplets: np.ndarray, *, block_rows: int):
  """Our batch-based classification loss, which needs no triplets."""
  del triplets
  return _compiled(lambda pair: batch_classification_loss(*pair, block_rows), features)


def _compiled(loss, features: np.ndarray):
  gradient, features = jax.jit(jax.value_and_grad(loss)), jnp.asarray(features)
  return lambda: jax.block_until_ready(gradient(features))[1]


def soft_triplet_in_a_loop(features: np.ndarray, triplets: np.ndarray):
  """One triplet at a time."""
  vectors = features.reshape(-1, _DIM.value)

  def gradient():
    loss, total = 0.0, np.zeros_like(vectors)
    for anchor, positive, negative in triplets:
      to_positive, to_negative = vectors[anchor] - vectors[positive], vectors[anchor] - vectors[negative]
      difference = to_positive @ to_positive - to_negative @ to_negative
      loss += np.logaddexp(0, difference) / len(triplets)
      slope = 2 / (1 + np.exp(-difference)) / len(triplets)
      total[anchor] += slope * (to_positive - to_negative)
      total[positive] -= slope * to_positive
      total[negative] += slope * to_negative
    return total.reshape(features.shape)

  return gradient


def soft_triplet_in_pytorch(features: np.ndarray, triplets: np.ndarray):
  """All triplets at once."""
  import torch

  vectors = torch.tensor(features.reshape(-1, _DIM.value), requires_grad=True)
  anchor, positive, negative = torch.tensor(triplets.T.astype(np.int64))

  def gradient():
    to_positive = (vectors[anchor] - vectors[positive]).square().sum(dim=1)
    to_negative = (vectors[anchor] - vectors[negative]).square().sum(dim=1)
    loss = torch.nn.functional.softplus(to_positive - to_negative).mean()
    return torch.autograd.grad(loss, vectors)[0].numpy().reshape(features.shape)

  return gradient


def soft_triplet_in_a_pytorch_loop(features: np.ndarray, triplets: np.ndarray):
  """One triplet at a time, the gradient left to PyTorch."""
  import torch

  vectors = torch.tensor(features.reshape(-1, _DIM.value), requires_grad=True)

  def gradient():
    terms = []
    for anchor, positive, negative in triplets:
      to_positive = (vectors[anchor] - vectors[positive]).square().sum()
      to_negative = (vectors[anchor] - vectors[negative]).square().sum()
      terms.append(torch.nn.functional.softplus(to_positive - to_negative))
    return torch.autograd.grad(torch.stack(terms).mean(), vectors)[0].numpy().reshape(features.shape)

  return gradient


def soft_triplet_as_published(features: np.ndarray, triplets: np.ndarray):
  """All distances at once, then a loop over the triplets for the loss and another for its gradient."""
  import torch

  vectors = torch.tensor(features.reshape(-1, _DIM.value))

  def gradient():
    squares = vectors.square().sum(dim=1)
    distances = (squares[:, None] + squares - 2 * vectors @ vectors.T).clamp(min=0).numpy()
    loss = 0.0
    for anchor, positive, negative in triplets:
      loss += np.log(1 + np.exp(distances[anchor, positive] - distances[anchor, negative])) / len(triplets)
    rows, total = vectors.numpy(), np.zeros(vectors.shape, np.float32)
    for anchor, positive, negative in triplets:
      slope = 2 - 2 / (1 + np.exp(distances[anchor, positive] - distances[anchor, negative]))
      total[anchor] += slope * (rows[anchor] - rows[positive]) / len(triplets)
      total[positive] += slope * (rows[positive] - rows[anchor]) / len(triplets)
      total[anchor] -= slope * (rows[anchor] - rows[negative]) / len(triplets)
      total[negative] -= slope * (rows[negative] - rows[anchor]) / len(triplets)
    return total.reshape(features.shape)

  return gradient


def contenders() -> dict:
  """For each contender a function of features and triplets that computes the loss and returns its gradient."""
  makers = {"soft_triplet": soft_triplet_in_jax, "batch_based_classification": batch_classification_in_jax}
  found = {}
  for loss, make in makers.items():
    for way, rows in (("whole", 0), ("blocks", _BLOCK_ROWS.value)):
      found[f"{loss}/{way}"] = functools.partial(make, block_rows=rows)
  found["soft_triplet/in_a_step"] = soft_triplet_in_steps
  found["soft_triplet/loop"] = soft_triplet_in_a_loop
  if importlib.util.find_spec("torch"):
    found["soft_triplet/pytorch"] = soft_triplet_in_pytorch
    found["soft_triplet/pytorch_loop"] = soft_triplet_in_a_pytorch_loop
    found["soft_triplet/published_loop"] = soft_triplet_as_published
  return found


def run_contender(name: str, batch_size: int, folder: pathlib.Path) -> dict[str, float]:
  """Milliseconds and peak memory of one contender, in this process; its gradient goes to `folder`."""
  gradient = contenders()[name](*inputs(batch_size))
  np.save(folder / f"{name.replace('/', '_')}.npy", np.asarray(gradient()))
  seconds = best_seconds(gradient, _NUM_REPEATS.value) / (STEPS_A_CALL if name == "soft_triplet/in_a_step" else 1)
  return {"milliseconds": 1000 * seconds, "peak_gb": peak_gigabytes()}


def compare(batch_size: int, folder: pathlib.Path) -> list[dict]:
  """One row for each contender, at one batch size."""
  shared = [f"--{flag.name}={flag.value}" for flag in (_DIM, _BLOCK_ROWS, _NUM_REPEATS)]
  shared += [f"--batch_sizes={batch_size}", f"--folder={folder}"]
  figures = {name: run_alone([*shared, f"--contender={name}"]) for name in contenders()}
  rows = []
  for name, own in figures.items():
    whole = f"{name.split('/')[0]}/whole"
    gradient, expected = (np.load(folder / f"{n.replace('/', '_')}.npy") for n in (name, whole))
    times = own["milliseconds"] / figures[whole]["milliseconds"]
    error = float(np.abs(gradient - expected).max() / np.abs(expected).max())
    rows.append({"batch": batch_size, "loss": name, **own, "times_whole's_time": times, "gradient_error": error})
  return rows


def main(_) -> None:
  """Compares all contenders, or runs one."""
  batch_sizes = [int(size) for size in _BATCH_SIZES.value]
  if _CONTENDER.value:
    print(json.dumps(run_contender(_CONTENDER.value, batch_sizes[0], pathlib.Path(_FOLDER.value))))
    return
  with tempfile.TemporaryDirectory() as folder:
    rows = [row for size in batch_sizes for row in compare(size, pathlib.Path(folder))]
  report(f"Losses forward and backward, width {_DIM.value}, blocks of {_BLOCK_ROWS.value}", rows, _OUTPUT.value)
  if any(row["gradient_error"] > 1e-3 for row in rows):
    raise SystemExit("The contenders disagree.")


if __name__ == "__main__":
  app.run(main)
