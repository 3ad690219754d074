import importlib.util
import sys

import pytest

from configs import catalogue
from data_pipelines.dataset import open_dataset, prepare
from data_pipelines.datasets.beam import Beam
from data_pipelines.input_error import InputError
from tests.data_pipelines.datasets.test_catalogue import write_csv
from tests.fakes import tiny_datasets

needs_beam = pytest.mark.skipif(
  not importlib.util.find_spec("apache_beam"), reason="apache-beam is not installed (the extra beam)"
)


@pytest.fixture
def config(tmp_path):
  config = catalogue.get_config().data
  config.dir = str(tiny_datasets.make_catalogue(tmp_path / "images", num_images=40))
  config.triplets = write_csv(tmp_path / "rows.csv", tiny_datasets.catalogue_triplets())
  config.prepared_dir, config.num_workers, config.image_size = str(tmp_path / "prepared"), 0, 16
  return config


def content(config):
  dataset = open_dataset(config, "modification")
  images = [
    (table.names, [table.encoded[row] for row in range(len(table))])
    for table in (dataset.train_images, dataset.gallery)
  ]
  return images, dataset.queries.references.tolist(), dataset.queries.texts, dataset.queries.target_labels


@needs_beam
def test_tables_by_beam_are_those_without_it_and_need_no_tensorflow(config, tmp_path):
  without = content(config)
  config.prepared_dir = str(tmp_path / "by_beam")
  prepare(config, Beam("DirectRunner", "--direct_num_workers=2"))
  assert content(config) == without
  assert "tensorflow" not in sys.modules


@needs_beam
def test_an_unknown_runner_is_named(config):
  with pytest.raises(InputError, match="--beam_runner=NoRunner: "):
    prepare(config, Beam("NoRunner"))


def test_without_beam_the_extra_is_named(config, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
  with pytest.raises(InputError, match=r"--beam_runner needs the extra beam: pip install 'composeret-jax\[beam\]'"):
    prepare(config, Beam("DirectRunner"))
