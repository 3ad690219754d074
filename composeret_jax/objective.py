"""What training minimises: the weighted sum of the losses, from features to one number."""

from collections.abc import Callable, Mapping
import functools

import jax
from jaxtyping import Array, Float, Num, PRNGKeyArray

from composeret_jax import losses
from composeret_jax.layers.dropout import RowKeys
from composeret_jax.model import RetrievalModel

PairLoss = Callable[[Float[Array, "batch dim"], Float[Array, "batch dim"]], Float[Array, ""]]

PAIR_LOSSES = ("batch_based_classification", "soft_triplet")


def pair_loss(
  name: str, key: PRNGKeyArray, batch_size: int, *, block_rows: int = 0, axis_name: str | None = None
) -> PairLoss:
  """The loss between composed features and targets called `name`; `key` draws the soft triplet's negatives.

  `batch_size` is the global batch's. `block_rows` is as for the losses: it bounds memory and changes no value. With
  `axis_name` the loss takes a device's own rows and sees all devices'.
  """
  if name == "batch_based_classification":
    loss = functools.partial(losses.batch_classification_loss, block_rows=block_rows)
  else:
    triplets = losses.sample_triplets(key, batch_size)
    loss = functools.partial(losses.soft_triplet_loss, triplets=triplets, block_rows=block_rows)
  if axis_name is None:
    return loss
  return lambda composed, targets: loss(*jax.lax.all_gather((composed, targets), axis_name, tiled=True))


def weighted_losses(
  model: RetrievalModel,
  reference: Float[Array, "batch ..."],
  target: Float[Array, "batch image_dim"],
  text: Float[Array, "batch text_dim"],
  *,
  loss: PairLoss,
  weights: Mapping[str, float],
  rngs: RowKeys | None = None,
) -> dict[str, Float[Array, ""]]:
  """Every loss with a weight above zero, from raw features, and their weighted sum as `total`.

  `reference` is what the model's `encode_references` gives.
  `weights` has the keys main, image_reconstruction, text_reconstruction and rotational_symmetry.
  """
  if weights["rotational_symmetry"]:
    composed, turned_back = model.both_ways(reference, target, text, rngs=rngs)
  else:
    composed = model.compose(reference, text, rngs=rngs)
  terms = {"main": loss(model.on_sphere(composed), model.on_sphere(target))}
  if weights["image_reconstruction"] or weights["text_reconstruction"]:
    decoded_image, decoded_text = model.composer.decode(composed)
    terms["image_reconstruction"] = losses.reconstruction_loss(decoded_image, reference)
    terms["text_reconstruction"] = losses.reconstruction_loss(decoded_text, text)
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
