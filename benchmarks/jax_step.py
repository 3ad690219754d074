"""The train step as training runs it."""

from collections.abc import Callable, Mapping

from flax import nnx
import jax
import numpy as np

from benchmarks import resnet_model
from benchmarks.built_step import BuiltStep
from benchmarks.clip_towers import Towers
from benchmarks.given_features import Given
from composeret_jax.distributed import data_mesh
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.projected import ProjectedImageEncoder, ProjectedTextEncoder
from composeret_jax.models.encoders.transformer import Compute
from composeret_jax.models.encoders.vit import Colours
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.pretrained.hub.config import with_defaults
from composeret_jax.pretrained.towers import clip
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.profiling import program_flops
from configs import base, clip4cir_finetune, models

COLOURS = Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))  # CLIP's


def build(
  batch: Mapping[str, np.ndarray],
  *,
  vocabulary_size: int,
  dim: int,
  loss: str,
  dtype: str,
  composer_only: bool,
  composer: str = "compose_ae",
  optimizer: str = "sgd",
  steps_per_call: int = 1,
  num_microbatches: int = 1,
  loss_block_rows: int = 0,
) -> BuiltStep:
  """One call does `steps_per_call` steps, in a loop on the device where they are more than one."""
  config = base.get_config()
  config.model = models.get_config(composer)
  config.model.image_encoder.dtype = dtype
  config.loss, config.batch_size, config.optimizer = loss, len(batch["reference"]), optimizer
  config.train.num_microbatches, config.loss_block_rows = num_microbatches, loss_block_rows
  config.model.composer_dtype = dtype if composer_only else "float32"
  model = _composer(config.model, dim) if composer_only else resnet_model.build(config.model, vocabulary_size, dim)
  return _built(model, config, batch, steps_per_call)


def build_towers(
  batch: Mapping[str, np.ndarray], towers: Towers, dtype: str, *, steps_per_call: int = 1, num_microbatches: int = 1
) -> BuiltStep:
  """CLIP4Cir's first stage: both towers of random weights are fine-tuned, image plus text being composed."""
  config = clip4cir_finetune.get_config()
  config.batch_size, config.train.num_microbatches = len(batch["reference"]), num_microbatches
  dim, compute, rngs = towers.projection_dim, Compute(jax.numpy.dtype(dtype)), nnx.Rngs(0)
  shared = {"projection_dim": dim}
  vision = with_defaults({"model_type": "clip_vision_model", **towers.vision, **shared})
  image_tower = clip.build_vit(vision, towers.vision["image_size"], COLOURS, compute)
  text_tower = clip.build_text(with_defaults({"model_type": "clip_text_model", **towers.text, **shared}), compute)
  model = RetrievalModel(
    ProjectedImageEncoder(image_tower, 0, rngs=rngs),
    ProjectedTextEncoder(text_tower, 0, rngs=rngs),
    COMPOSERS[config.model.composer](dim, dim, rngs=rngs),
    radius=config.model.radius,
    train_radius=False,
  )
  rng = np.random.default_rng(0)
  params = nnx.state(model, nnx.Param)
  # Towers are zero until they are read from a file, and products of zeros are faster than others.
  nnx.update(model, jax.tree.map(lambda array: array + 0.02 * rng.standard_normal(array.shape, np.float32), params))
  return _built(model, config, batch, steps_per_call)


def _built(model: RetrievalModel, config, batch: Mapping[str, np.ndarray], steps_per_call: int) -> BuiltStep:
  optimizer = build_optimizer(config)
  step = make_train_step(model, optimizer, config)
  state = jax.tree.map(jax.numpy.copy, create_state(model, optimizer, seed=0))
  num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.variables.params))
  arrays = jax.device_put({model.text_encoder.reads if name == "text" else name: batch[name] for name in batch})
  program = step if steps_per_call == 1 else _repeated(step, steps_per_call)
  compiled = Parallel("jit", data_mesh(), steps_per_call=1).compile(program).lower(state, arrays).compile()

  def call() -> None:
    nonlocal state
    state, _ = compiled(state, arrays)

  return BuiltStep(
    call=call,
    wait=lambda: jax.block_until_ready(state),
    num_parameters=num_parameters,
    device=jax.devices()[0].device_kind,
    flops=lambda: program_flops(step, state, arrays),
    hlo_text=compiled.as_text,
  )


def _composer(config, dim: int) -> RetrievalModel:
  composer = COMPOSERS[config.composer](dim, dim, rngs=nnx.Rngs(0))
  composer.compute_in(jax.numpy.dtype(config.composer_dtype))
  return RetrievalModel(Given(), Given(), composer)


def _repeated(step: Callable, times: int) -> Callable:
  return lambda state, batch: jax.lax.scan(lambda state, _: step(state, batch), state, None, length=times)
