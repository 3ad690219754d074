"""What training minimises: the weighted sum of the losses, from features to one number."""

from collections.abc import Callable, Mapping
import functools

from flax import nnx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from composeret_jax import losses
from composeret_jax.model import RetrievalModel

PairLoss = Callable[[Float[Array, "batch dim"], Float[Array, "batch dim"]], Float[Array, ""]]

PAIR_LOSSES = ("batch_based_classification", "soft_triplet")


def pair_loss(name: str, key: PRNGKeyArray, batch_size: int, block_rows: int = 0) -> PairLoss:
  """The loss between composed features and targets called `name`; `key` draws the soft triplet's negatives.

  `block_rows` is as for the losses: it bounds memory and changes no value.
  """
  if name == "batch_based_classification":
    return functools.partial(losses.batch_classification_loss, block_rows=block_rows)
  triplets = losses.sample_triplets(key, batch_size)
  return functools.partial(losses.soft_triplet_loss, triplets=triplets, block_rows=block_rows)


def weighted_losses(
  model: RetrievalModel,
  reference: Float[Array, "batch ..."],
  target: Float[Array, "batch image_dim"],
  text: Float[Array, "batch text_dim"],
  *,
  loss: PairLoss,
  weights: Mapping[str, float],
  rngs: nnx.Rngs | None = None,
) -> dict[str, Float[Array, ""]]:
  """Every loss with a weight above zero, from raw features, and their weighted sum as `total`.

  `reference` is what the model's `encode_references` gives.
  `weights` has the keys main, image_reconstruction, text_reconstruction and rotational_symmetry.
  """
  composed = model.compose(reference, text, rngs=rngs)
  terms = {"main": loss(model.on_sphere(composed), model.on_sphere(target))}
  if weights["image_reconstruction"] or weights["text_reconstruction"]:
    decoded_image, decoded_text = model.composer.decode(composed)
    terms["image_reconstruction"] = losses.reconstruction_loss(decoded_image, reference)
    terms["text_reconstruction"] = losses.reconstruction_loss(decoded_text, text)
  if weights["rotational_symmetry"]:
    turned_back = model.turn_back(target, text, rngs=rngs)
    terms["rotational_symmetry"] = losses.rotational_symmetry_loss(
      model.on_sphere(turned_back), model.on_sphere(reference), loss
    )
  total = sum(weights[name] * value for name, value in terms.items())
  return {"total": total, **terms}


def batch_losses(
  model: RetrievalModel,
  batch: Mapping[str, Array],
  key: PRNGKeyArray,
  *,
  loss_name: str,
  weights: Mapping[str, float],
  loss_block_rows: int = 0,
) -> dict[str, Float[Array, ""]]:
  """`weighted_losses` of a batch: `reference`, `target` [batch, height, width, 3] uint8, and texts.

  Texts are `tokens` [batch, length] or `text_rows` [batch], whichever the model's text encoder `reads`.
  """
  loss_key, dropout_key = jax.random.split(key)
  rngs = nnx.Rngs(dropout=dropout_key)
  # Two passes, not one over both: batch norm sees references and targets apart, as in the original.
  reference = model.encode_references(batch["reference"])
  target = model.encode_images(batch["target"])
  text = model.encode_texts(batch[model.text_encoder.reads], rngs=rngs)
  loss = pair_loss(loss_name, loss_key, len(text), loss_block_rows)
  return weighted_losses(model, reference, target, text, loss=loss, weights=weights, rngs=rngs)
