"""What training minimises: the weighted sum of the losses, from features to one number."""

from collections.abc import Callable, Mapping
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from composeret_jax import losses
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.model import RetrievalModel

PairLoss = Callable[..., Float[Array, ""]]  # (composed, targets), and `negatives` where a loss has these

PAIR_LOSSES = ("batch_based_classification", "soft_triplet", "info_nce", "sigmoid")

BIASED_LOSSES = ("sigmoid",)  # those with a learned bias, which is the model's


def pair_loss(
  name: str,
  key: PRNGKeyArray,
  batch_size: int,
  *,
  bias: Float[Array, ""] | None = None,
  block_rows: int = 0,
  axis_name: str | None = None,
) -> PairLoss:
  """The loss between composed features and targets called `name`; `key` draws the soft triplet's negatives.

  `batch_size` is the global batch's, `bias` the model's where the loss is one of BIASED_LOSSES. `block_rows` is as for
  the losses: it bounds memory and changes no value. With `axis_name` the loss takes a device's own rows and sees all
  devices'.
  """
  if name == "batch_based_classification":
    loss = functools.partial(losses.batch_classification_loss, block_rows=block_rows)
  elif name == "info_nce":
    loss = functools.partial(losses.info_nce_loss, block_rows=block_rows)
  elif name == "sigmoid":
    loss = functools.partial(losses.sigmoid_loss, bias=bias, block_rows=block_rows)
  else:
    triplets = losses.sample_triplets(key, batch_size)
    loss = functools.partial(losses.soft_triplet_loss, triplets=triplets, block_rows=block_rows)
  if axis_name is None:
    return loss

  def of_all_devices(*features, **negatives):
    features, negatives = jax.lax.all_gather((features, negatives), axis_name, tiled=True)
    return loss(*features, **negatives)

  return of_all_devices


def weighted_losses(
  model: RetrievalModel,
  reference: Float[Array, "batch ..."],
  target: Float[Array, "batch image_dim"],
  text: Float[Array, "batch text_dim"],
  *,
  loss: PairLoss,
  weights: Mapping[str, float],
  rngs: RowKeys | None = None,
  negatives: losses.HardNegatives | None = None,
) -> dict[str, Float[Array, ""]]:
  """Every loss with a weight above zero, from raw features, and their weighted sum as `total`.

  `reference` is what the model's `encode_references` gives.
  `weights` has the keys main, image_reconstruction, text_reconstruction and rotational_symmetry. `negatives` are the
  main loss's.
  """
  if weights["rotational_symmetry"]:
    composed, turned_back = model.both_ways(reference, target, text, rngs=rngs)
  else:
    composed = model.compose(reference, text, rngs=rngs)
  mined = {} if negatives is None else {"negatives": negatives}
  terms = {"main": loss(model.on_sphere(composed), model.on_sphere(target), **mined)}
  if weights["image_reconstruction"]:
    terms["image_reconstruction"] = losses.reconstruction_loss(model.composer.decode_image(composed, text), reference)
  if weights["text_reconstruction"]:
    terms["text_reconstruction"] = losses.reconstruction_loss(model.composer.decode_text(composed), text)
  if weights["rotational_symmetry"]:
    terms["rotational_symmetry"] = losses.rotational_symmetry_loss(
      model.on_sphere(turned_back), model.on_sphere(reference), loss
    )
  total = sum(weights[name] * value for name, value in terms.items())
  return {"total": total, **terms}


def encode_batch(
  model: RetrievalModel,
  batch: Mapping[str, Array],
  images: Num[Array, "num_images ..."] | None,
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch image_dim"], Float[Array, "batch text_dim"]]:
  """References, targets and texts as `weighted_losses` takes them; `batch` and `images` are as for the train step.

  `augment` changes references and targets before they are encoded. Texts are `tokens` [batch, length] or `text_rows`
  [batch], whichever the model's text encoder `reads`.
  """
  reference, target = batch["reference"], batch["target"]
  if images is not None:
    reference, target = images[reference], images[target]
  reference, target = augment(reference, rngs), augment(target, rngs)
  # Two passes, not one over both: batch norm sees references and targets apart, as in the original.
  text = batch[model.text_encoder.reads]
  return model.encode_references(reference), model.encode_images(target), model.encode_texts(text, rngs=rngs)


def encode_negatives(
  model: RetrievalModel,
  table: Mapping[str, Int[Array, "..."]],
  targets: Int[Array, " batch"],
  images: Num[Array, "num_images ..."],
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> losses.HardNegatives:
  """The images that `table`, a train state's `negatives`, has for the targets, in one more pass through the encoder."""
  rows = table["rows"][targets]
  num = rows.shape[1]
  own_keys = RowKeys(rngs.key, (rngs.rows[:, None] * num + jnp.arange(num)).ravel())
  features = model.on_sphere(model.encode_images(augment(images[rows.ravel()], own_keys)))
  return losses.HardNegatives(features.reshape(*rows.shape, -1), table["labels"][rows], table["labels"][targets])
