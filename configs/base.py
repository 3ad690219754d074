"""Every field of a run's configuration, with its default: the published ComposeAE set-up where it has one."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The defaults; `model`, `data.dataset` and `protocol` are for a data set's own file to set."""
  config = ml_collections.ConfigDict()

  config.seed = 0  # initial weights, order of the data, dropout, negatives
  config.batch_size = 32  # over all devices
  config.num_train_steps = 160_000

  config.loss = "batch_based_classification"  # or "soft_triplet"
  config.text_query = "modification"  # or "complete": what the text says, per data set

  # SGD with momentum.
  config.learning_rate = 0.01
  config.trunk_learning_rate_factor = 0.1  # for the image encoder's convolutions, and for BERT
  config.momentum = 0.9
  config.weight_decay = 1e-6  # L2, joins every parameter's gradient
  config.decay_every_steps = 50_000  # the learning rate takes the next factor
  config.decay_factor = 0.1

  config.log_every_steps = 50
  config.eval_every_steps = 5_000
  config.checkpoint_every_steps = 1_000
  config.num_newest_checkpoints = 2
  config.best_metric = "R@1"  # the best checkpoint by it is kept too

  config.profile_steps = ""  # "10:15" writes a profiler trace of steps 10 to 14 to the workdir's profile/
  config.peak_flops = 0.0  # what one device can do in a second, for speed/mfu; 0: from the table of known devices

  config.data = ml_collections.ConfigDict()
  config.data.dir = ""  # the raw files, for data sets that have to be downloaded by hand
  config.data.prepared_dir = ""  # prepared data sets; by default composeret_jax in the user's cache folder
  config.data.image_size = 224  # pixels, square
  config.data.num_workers = 2  # processes that decode; 0 decodes in threads

  config.eval = ml_collections.ConfigDict()
  config.eval.batch_size = 128  # images, texts or queries in one call
  config.eval.query_block = 256  # similarities held at once: query_block x gallery_block
  config.eval.gallery_block = 8_192
  return config
