"""The train step as training runs it."""

from collections.abc import Callable, Mapping

from flax import nnx
import jax
import numpy as np

from benchmarks.built_step import BuiltStep
from composeret_jax.distributed import data_mesh
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.encoders.lstm import LstmTextEncoder
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.train_step.optimizers import build_optimizer
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.train_step.state import create_state
from composeret_jax.train_step.step import make_train_step
from composeret_jax.training.model import build_model
from composeret_jax.training.profiling import program_flops
from configs import base, models


class Given(nnx.Module):
  """Stands for an encoder where the features are given."""

  reads = "text"

  def __call__(self, features: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
    """Returns `features` themselves."""
    return features


def build(
  batch: Mapping[str, np.ndarray],
  *,
  vocabulary_size: int,
  dim: int,
  loss: str,
  dtype: str,
  composer_only: bool,
  composer: str = "compose_ae",
  steps_per_call: int = 1,
  num_microbatches: int = 1,
  loss_block_rows: int = 0,
) -> BuiltStep:
  """One call does `steps_per_call` steps, in a loop on the device where they are more than one."""
  config = base.get_config()
  config.model = models.get_config(composer)
  config.model.image_encoder.dtype = dtype
  config.loss, config.batch_size = loss, len(batch["reference"])
  config.train.num_microbatches, config.loss_block_rows = num_microbatches, loss_block_rows
  model = _composer(composer, dim) if composer_only else _whole(config, vocabulary_size, dim)
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


def _composer(name: str, dim: int) -> RetrievalModel:
  return RetrievalModel(Given(), Given(), COMPOSERS[name](dim, dim, rngs=nnx.Rngs(0)))


def _whole(config, vocabulary_size: int, dim: int) -> RetrievalModel:
  def text_encoder(rngs: nnx.Rngs) -> LstmTextEncoder:
    return LstmTextEncoder(vocabulary_size=vocabulary_size, embedding_dim=dim, feature_dim=dim, rngs=rngs)

  config.model.image_encoder.feature_dim = dim
  return build_model(config.model, text_encoder, seed=0)


def _repeated(step: Callable, times: int) -> Callable:
  return lambda state, batch: jax.lax.scan(lambda state, _: step(state, batch), state, None, length=times)
