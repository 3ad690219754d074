"""The shapes that are compiled are those that training calls the step with."""

from flax import nnx
import jax
import pytest

from composeret_jax.distributed import data_mesh
from composeret_jax.train_step.parallel import Parallel
from composeret_jax.training.batches import device_memory, resident_images, train_batches
from composeret_jax.training.planning.abstract_step import AbstractStep
from composeret_jax.training.planning.stand_ins import DataSizes
from composeret_jax.training.resume import newest_state
from composeret_jax.training.run import open_run
from configs import catalogue
from data_pipelines.input_error import InputError
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny, tiny_bert, tiny_datasets, tiny_tower


def described(arrays):
  """Structure, shapes, dtypes and shardings of a tree."""
  leaves, structure = jax.tree.flatten(arrays)
  return structure, [(leaf.shape, leaf.dtype, leaf.sharding.spec) for leaf in leaves]


def lstm(config, folder):
  """The tiny configuration as it is."""


def several_steps_under_pmap(config, folder):
  config.parallel = "pmap"
  config.train.steps_per_call = 4


def resident_with_hard_negatives(config, folder):
  config.data.placement = "device"
  config.train.steps_per_call = 2
  config.hard_negatives.every_steps = 2


def references_as_negatives(config, folder):
  config.loss_reference_as_negative = True


def given_negatives(config, folder):
  tiny_datasets.make_catalogue(folder / "images")
  rows = [row | {"negatives": row["reference"]} for row in tiny_datasets.catalogue_triplets()]
  with config.unlocked():
    config.data.update(catalogue.get_config().data, **tiny.config(folder / "images", folder).data)
    config.data.update(dataset="catalogue", triplets=write_csv(folder / "rows.csv", rows), negatives_per_query=2)
    config.update(protocol="same_label", batch_size=2)


def averaged_with_a_bias(config, folder):
  config.update(optimizer="adamw", ema_decay=0.9, loss="sigmoid")


def frozen_towers(config, folder):
  tiny_tower.use(config, tiny_tower.make(folder))
  config.update(optimizer="adamw")


def trained_towers(config, folder):
  tiny_tower.use(config, tiny_tower.make(folder, "siglip"), "siglip")
  config.model.image_encoder.frozen = False
  config.model.text_encoder.fine_tune = True


def towers_with_an_unseen_token(config, folder):
  tiny_tower.use(config, tiny_tower.make(folder))
  config.model.image_encoder.frozen = False
  config.model.text_encoder.update(fine_tune=True, unseen_id=0)


def frozen_bert(config, folder):
  config.model.text_encoder.update(name="bert", path=str(tiny_bert.make(folder)), projection_dim=4)


def trained_bert(config, folder):
  frozen_bert(config, folder)
  config.model.text_encoder.fine_tune = True


KINDS = (
  lstm,
  several_steps_under_pmap,
  resident_with_hard_negatives,
  references_as_negatives,
  given_negatives,
  averaged_with_a_bias,
  frozen_towers,
  trained_towers,
  towers_with_an_unseen_token,
  frozen_bert,
  trained_bert,
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_compiled_for_what_training_calls_it_with(kind, config, tmp_path):
  kind(config, tmp_path / "encoders")
  run = open_run(config, tmp_path / "run")
  parallel = Parallel(config.parallel, data_mesh(), config.train.steps_per_call)
  images = resident_images(run.dataset, config, parallel.mesh)
  batches = next(train_batches(run.data, parallel, 0, as_rows=images is not None))
  texts = {*run.dataset.train_triplets.texts(), *run.dataset.queries.texts}
  sizes = DataSizes(
    vocabulary_size=len(run.sources.get("words", texts)),
    text_length=batches[run.model.text_encoder.reads].shape[-1],
    num_images=len(run.dataset.train_images),
  )
  abstract = AbstractStep.of(config, data_mesh(), sizes, device_memory(data_mesh()))
  assert described(dict(abstract.batches)) == described(dict(batches))
  assert described(abstract.state) == described(vars(newest_state(run)))
  assert described(abstract.images) == described(images)
  run.model.empty_text = abstract.model.empty_text  # no shape depends on it
  assert nnx.graphdef(abstract.model) == nnx.graphdef(run.model)


def test_resident_images_need_their_number(config):
  config.data.placement = "device"
  with pytest.raises(InputError, match="--num_images is not set"):
    AbstractStep.of(config, data_mesh(), DataSizes(), 2**34)
