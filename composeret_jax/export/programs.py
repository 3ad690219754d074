"""A bundle's computations, as programs that need none of the modules that they were traced from."""

from collections.abc import Callable, Mapping

from flax import nnx
import jax
from jax import export
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables
from composeret_jax.serving.bundle.layout import (
  COMPOSE_FEATURES,
  COMPOSE_QUERY,
  COMPOSE_TEXTS,
  ENCODE_GALLERY,
  MEAN_REFERENCE,
)

PLATFORMS = ("cpu", "cuda", "tpu")
CALLERS = "jax_traceback_in_locations_limit"


Weights = Mapping[str, Array]


Program = Callable[..., tuple[Float[Array, "batch dim"], Float[Array, " batch"]]]


def named_weights(variables: Variables) -> dict[str, np.ndarray]:
  """The parameters and statistics of a serving model by their paths: `params/image_encoder/head/kernel`."""
  paths, _ = jax.tree.flatten_with_path({"params": variables.params, "batch_stats": variables.batch_stats})
  return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in paths}


def serving_programs(model: RetrievalModel, variables: Variables) -> dict[str, Program]:
  """(weights, rows...) -> (features of length 1, the lengths that they had), by name.

  weights, `named_weights` and the mean reference, are arguments: files share them. Rows are uint8 pixels, token ids,
  and features with their lengths. Of `model` only the structure is used.
  """
  structure = nnx.graphdef(model)
  names = list(named_weights(variables))
  treedef = jax.tree.structure({"params": variables.params, "batch_stats": variables.batch_stats})

  def merged(weights: Weights) -> RetrievalModel:
    trees = jax.tree.unflatten(treedef, [weights[name] for name in names])
    model = nnx.merge(structure, trees["params"], trees["batch_stats"], copy=True)
    model.eval()
    return model

  def encode_gallery(weights, pixels):
    return unit_and_norm(merged(weights).encode_targets(pixels))

  def compose_query(weights, pixels, tokens):
    model = merged(weights)
    return unit_and_norm(model.compose(model.encode_references(pixels), model.encode_texts(tokens)))

  def compose_texts(weights, tokens):
    model, mean = merged(weights), weights[MEAN_REFERENCE]
    references = jnp.broadcast_to(mean, (tokens.shape[0], *mean.shape))
    return unit_and_norm(model.compose(references, model.encode_texts(tokens)))

  def compose_features(weights, features, norms, tokens):
    model = merged(weights)
    return unit_and_norm(model.compose(features * norms[:, None], model.encode_texts(tokens)))

  programs: dict[str, Program] = {
    ENCODE_GALLERY: encode_gallery,
    COMPOSE_QUERY: compose_query,
    COMPOSE_TEXTS: compose_texts,
  }
  # Of a map, and of a composed target, there is no image's feature in an index.
  needs_image = model.composer.composes_maps or model.composer.composes_targets
  return programs if needs_image else programs | {COMPOSE_FEATURES: compose_features}


def unit_and_norm(raw: Float[Array, "batch dim"]) -> tuple[Float[Array, "batch dim"], Float[Array, " batch"]]:
  """Raw features divided by their lengths, and these; a zero feature stays zero."""
  squared = jnp.square(raw).sum(axis=-1)
  return raw * jax.lax.rsqrt(jnp.maximum(squared, jnp.finfo(jnp.float32).tiny))[:, None], jnp.sqrt(squared)


def row_shapes(image_size: int, feature_dim: int, max_length: int) -> dict[str, list[jax.ShapeDtypeStruct]]:
  """The rows that each program takes; batch and text length are for the caller of the exported program to choose."""
  batch, length = export.symbolic_shape("batch, length", constraints=[f"length <= {max_length}"])
  (images,) = export.symbolic_shape("images")  # apart: every dimension that is constrained has to appear
  size = (image_size, image_size, 3)
  pixels = jax.ShapeDtypeStruct((batch, *size), jnp.uint8)
  tokens = jax.ShapeDtypeStruct((batch, length), jnp.int32)
  features = jax.ShapeDtypeStruct((batch, feature_dim), jnp.float32)
  norms = jax.ShapeDtypeStruct((batch,), jnp.float32)
  return {
    ENCODE_GALLERY: [jax.ShapeDtypeStruct((images, *size), jnp.uint8)],
    COMPOSE_QUERY: [pixels, tokens],
    COMPOSE_TEXTS: [tokens],
    COMPOSE_FEATURES: [features, norms, tokens],
  }


def export_program(program: Program, weights: Mapping[str, np.ndarray], rows: list[jax.ShapeDtypeStruct]) -> bytes:
  """The serialised program for all PLATFORMS; weights keep their names.

  It names no file of this machine, and is the same whichever code calls this.
  """
  shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
  before = getattr(jax.config, CALLERS)
  jax.config.update(CALLERS, 0)
  try:
    return bytes(export.export(jax.jit(program), platforms=PLATFORMS)(shapes, *rows).serialize())
  finally:
    jax.config.update(CALLERS, before)
