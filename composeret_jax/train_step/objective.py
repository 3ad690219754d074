"""The objective that training minimises: the weighted sum of the losses, from features to one number."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from composeret_jax.distributed import SplitRows
from composeret_jax.models.layers.dropout import RowKeys
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.hard_negatives import HardNegatives
from composeret_jax.train_step.loss import PairLoss


def weighted_losses(
  model: RetrievalModel,
  reference: Float[Array, "batch ..."],
  target: Float[Array, "batch image_dim"],
  text: Num[Array, "batch text_dim"],
  *,
  loss: PairLoss,
  weights: Mapping[str, float],
  on_sphere: bool = True,
  rngs: RowKeys | None = None,
  negatives: HardNegatives | None = None,
) -> dict[str, Float[Array, ""]]:
  """Every loss with a weight above zero, from raw features, and their weighted sum as `total`.

  `reference` is what the model's `encode_references` gives. `weights` has the keys main, image_reconstruction,
  text_reconstruction and rotational_symmetry; the last is ComposeAE's (Anwaar et al., WACV 2021): `loss` between
  targets that their texts turned back and the references that they should give. `negatives` are the main loss's.
  `loss` compares features on the sphere or, without `on_sphere`, raw ones.
  """
  compared = model.on_sphere if on_sphere else lambda features: features
  if weights["rotational_symmetry"]:
    composed, turned_back = model.both_ways(reference, target, text, rngs=rngs)
  else:
    composed = model.compose(reference, text, rngs=rngs)
  mined = {} if negatives is None else {"negatives": negatives}
  targets = compared(model.compose_targets(target, rngs=rngs))
  terms = {"main": loss(compared(composed), targets, **mined)}
  if weights["image_reconstruction"]:
    terms["image_reconstruction"] = reconstruction_loss(model.composer.decode_image(composed, text), reference)
  if weights["text_reconstruction"]:
    terms["text_reconstruction"] = reconstruction_loss(model.composer.decode_text(composed), text)
  if weights["rotational_symmetry"]:
    terms["rotational_symmetry"] = loss(compared(turned_back), compared(reference))
  total = jnp.asarray(sum(weights[name] * value for name, value in terms.items()))
  return {"total": total, **terms}


def reconstruction_loss(decoded: Float[Array, "batch dim"], original: Float[Array, "batch dim"]) -> Float[Array, ""]:
  """Mean squared error of a decoder against the raw feature that it rebuilds. Gradients flow into both."""
  return jnp.square(decoded - original).mean()


def encode_batch(
  model: RetrievalModel,
  batch: Mapping[str, Array],
  images: Num[Array, "num_images ..."] | SplitRows | None,
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch image_dim"], Num[Array, "batch text_dim"]]:
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


def reference_negatives(
  model: RetrievalModel,
  reference: Float[Array, "batch ..."],
  batch: Mapping[str, Array],
  *,
  rngs: RowKeys | None = None,
) -> HardNegatives:
  """Each query's own image, as it stands in a gallery, from what `encode_references` gives."""
  features = model.on_sphere(model.compose_targets(model.pool_references(reference), rngs=rngs))
  return HardNegatives(features[:, None], batch["reference_label"][:, None], batch["target_label"])


def encode_negatives(
  model: RetrievalModel,
  table: Mapping[str, Int[Array, "..."]],
  targets: Int[Array, " batch"],
  images: Num[Array, "num_images ..."] | SplitRows,
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> HardNegatives:
  """The images that `table`, a train state's `negatives`, has for the targets, in one more pass through the encoder."""
  rows = table["rows"][targets]
  features = _encode_several(model, images[rows], augment, rngs)
  return HardNegatives(features, table["labels"][rows], table["labels"][targets])


def encode_given_negatives(
  model: RetrievalModel,
  batch: Mapping[str, Array],
  images: Num[Array, "num_images ..."] | None,
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> HardNegatives:
  """Those that the batch brings with it, in one more pass through the encoder."""
  given = batch["negative"] if images is None else images[batch["negative"]]
  features = _encode_several(model, given, augment, rngs)
  return HardNegatives(features, batch["negative_label"], batch["target_label"])


def _encode_several(
  model: RetrievalModel,
  images: Num[Array, "batch num ..."],
  augment: Callable[[Num[Array, "batch ..."], RowKeys], Num[Array, "batch ..."]],
  rngs: RowKeys,
) -> Float[Array, "batch num dim"]:
  """The features of several images for each row, as they stand in a gallery, on the sphere."""
  num = images.shape[1]
  own_keys = RowKeys(rngs.key, (rngs.rows[:, None] * num + jnp.arange(num)).ravel())
  augmented = augment(images.reshape(-1, *images.shape[2:]), own_keys)
  features = model.on_sphere(model.encode_targets(augmented, rngs=own_keys))
  return features.reshape(*images.shape[:2], -1)
