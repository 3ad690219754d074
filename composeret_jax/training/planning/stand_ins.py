"""Shapes in place of a data set: a model, its images and a batch, as the step sees them."""

import dataclasses
from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int
import ml_collections
import numpy as np

from composeret_jax.distributed import on_every_device, rows_split, SplitRows
from composeret_jax.models.encoders.bert import Bert
from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.encoders.projected import FeatureTable, freeze, ProjectedTextEncoder
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.bert import read_bert_config
from composeret_jax.pretrained.files import find_folder
from composeret_jax.pretrained.hub.config import CONFIG
from composeret_jax.pretrained.image_encoder import build_trunk
from composeret_jax.pretrained.towers.tower_folder import build_text_tower, compute_of, TEXT_FIELD
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.training.batches import needs_labels, num_given_negatives, resident_placement
from composeret_jax.training.model import build_model, placeholder_of
from data_pipelines.input_error import InputError


@dataclasses.dataclass(frozen=True)
class DataSizes:
  """The sizes of a data set that a step depends on.

  `vocabulary_size` is an LSTM's number of words or, with a frozen BERT or tower, the number of different texts.
  `text_length` is the most tokens of a text, and `num_images` the number of training images.
  """

  vocabulary_size: int = 10_000
  text_length: int = 16
  num_images: int = 0


def model_shapes(config: ml_collections.ConfigDict, sizes: DataSizes) -> RetrievalModel:
  """The model of a run's whole configuration, with shapes in place of its variables.

  Raises InputError where the description of a tower or a BERT, its config.json, cannot be read.
  """
  text_encoder, is_in_model = config.model.text_encoder, bool(placeholder_of(config.model))

  def build_text_encoder(rngs: nnx.Rngs) -> Any:
    if text_encoder.name == "lstm":
      dims = {name: text_encoder[name] for name in ("embedding_dim", "feature_dim")}
      return LstmTextEncoder(vocabulary_size=sizes.vocabulary_size + 1, **dims, rngs=rngs)  # and unknown words
    trunk: Any = _text_trunk(text_encoder)
    if is_in_model:
      freeze(trunk)
    elif not text_encoder.fine_tune:
      num_texts = sizes.vocabulary_size + 1  # and the empty one
      trunk = FeatureTable(np.broadcast_to(np.float32(0), (num_texts, trunk.feature_dim)))
    return ProjectedTextEncoder(trunk, text_encoder.projection_dim, rngs=rngs)

  reads_tokens = text_encoder.name == "lstm" or text_encoder.fine_tune or is_in_model
  return nnx.eval_shape(
    lambda: build_model(
      config.model,
      build_text_encoder,
      config.seed,
      config.data.image_size,
      has_bias=LOSSES[config.loss].has_bias,
      empty_text=(0,) if reads_tokens else 0,
      placeholder_id=0,
    )
  )


def _text_trunk(encoder_config: ml_collections.ConfigDict) -> Any:
  if encoder_config.name == "tower":
    return build_text_tower(encoder_config)
  fields = read_bert_config(find_folder(encoder_config.path, (CONFIG,), TEXT_FIELD))
  return Bert(fields, encoder_config.pooling, compute_of(encoder_config), rngs=nnx.Rngs(0))


def image_shapes(config: ml_collections.ConfigDict, num_images: int) -> jax.ShapeDtypeStruct:
  """The shape of images for the model: pixels or, where the trunk is frozen, its features."""
  if config.model.image_encoder.frozen:
    trunk: Any = nnx.eval_shape(lambda: build_trunk(config.model.image_encoder, config.data.image_size))
    return jax.ShapeDtypeStruct((num_images, trunk.feature_dim), jnp.float32)
  return jax.ShapeDtypeStruct((num_images, config.data.image_size, config.data.image_size, 3), jnp.uint8)


def batch_shapes(
  config: ml_collections.ConfigDict, model: RetrievalModel, sizes: DataSizes
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes of one global batch."""
  size, on_devices = config.batch_size, config.data.placement == "device"
  images = jax.ShapeDtypeStruct((size,), jnp.int32) if on_devices else image_shapes(config, size)
  texts = {"tokens": (size, _num_tokens(model.text_encoder, sizes)), "text_rows": (size,)}[model.text_encoder.reads]
  shapes = {
    "reference": images,
    "target": images,
    model.text_encoder.reads: jax.ShapeDtypeStruct(texts, jnp.int32),
  }
  if needs_labels(config):
    shapes |= dict.fromkeys(("reference_label", "target_label"), jax.ShapeDtypeStruct((size,), jnp.int32))
  if num := num_given_negatives(config):
    shapes["negative"] = jax.ShapeDtypeStruct((size, num, *images.shape[1:]), images.dtype)
    shapes["negative_label"] = jax.ShapeDtypeStruct((size, num), jnp.int32)
  return shapes


def nothing_mined(config: ml_collections.ConfigDict, sizes: DataSizes) -> dict[str, Int[Array, "..."]]:
  """A train state's `negatives` before any are mined."""
  if not config.hard_negatives.every_steps:
    return {}
  rows, labels = (sizes.num_images, config.hard_negatives.num), (sizes.num_images,)
  return {"rows": jnp.zeros(rows, jnp.int32), "labels": jnp.zeros(labels, jnp.int32)}


def resident_shapes(
  config: ml_collections.ConfigDict, mesh: Mesh, sizes: DataSizes, memory_bytes: int
) -> jax.ShapeDtypeStruct | SplitRows | None:
  """The shape of all training images, where devices hold them; each device has `memory_bytes`.

  Raises InputError when their number is not given, and when they do not fit.
  """
  if config.data.placement != "device":
    return None
  if not sizes.num_images:
    raise InputError("--num_images is not set: config.data.placement is device, where all training images are held")
  images = image_shapes(config, sizes.num_images)
  need = images.size * images.dtype.itemsize
  placement = resident_placement(config, mesh.size, need, memory_bytes)
  if placement == "whole":
    return jax.ShapeDtypeStruct(images.shape, images.dtype, sharding=on_every_device(mesh))
  if placement == "split":
    num_padded = -(-sizes.num_images // mesh.size) * mesh.size
    parts: Any = jax.ShapeDtypeStruct((num_padded, *images.shape[1:]), images.dtype, sharding=rows_split(mesh))
    return SplitRows(parts, sizes.num_images, mesh)
  raise InputError(
    f"config.data.placement is device, but {sizes.num_images:,} images take {need / 2**30:.2f} GiB, which "
    f"{mesh.size} devices of {memory_bytes / 2**30:.2f} GiB do not hold: training streams them. Compile with "
    "--config.data.placement=stream"
  )


def _num_tokens(text_encoder: Any, sizes: DataSizes) -> int:
  """No more than the encoder has positions for; as many where it needs all texts to be as long."""
  trunk = getattr(text_encoder, "trunk", text_encoder)
  if not hasattr(trunk, "embeddings"):
    return sizes.text_length
  most = trunk.embeddings.positions.shape[0]
  return most if getattr(trunk, "needs_padding", False) else min(sizes.text_length, most)
