"""Every field of a run's configuration, with its default: the published ComposeAE set-up where it has one."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The defaults; `model`, `data.dataset` and `protocol` are for a data set's own file to set."""
  config = ml_collections.ConfigDict()
  set_run(config)
  set_hard_negatives(config)
  set_optimizer(config)
  set_reports_and_checkpoints(config)
  set_data(config)
  set_steps(config)
  set_evaluation(config)
  return config


def set_run(config: ml_collections.ConfigDict) -> None:
  """The model, the loss and the schedule of a run."""
  config.seed = 0  # initial weights, order of the data, dropout, negatives
  config.batch_size = 32  # over all devices
  config.init_from = ""  # the workdir of another run whose parameters a new run starts from
  config.init_from_step = ""  # "best", or the step of its checkpoint; by default the newest
  config.num_train_steps = 160_000  # 0 evaluates the model without training it

  config.parallel = "jit"  # or "pmap": how a step runs on all devices
  # Or "split", under jit: each device keeps a part of large parameters, of the optimiser's state and of averages.
  config.parallel_state = "replicated"

  config.loss = (
    "batch_based_classification"  # or "soft_triplet", "info_nce", "sigmoid", "mean_squared_error" (of raw features)
  )
  # Every query's own image stands against every target too; images of the same label as a target never do, the batch's
  # other targets with the second option.
  config.loss_reference_as_negative = False
  config.loss_label_mask = False
  config.text_query = "modification"  # or "complete": what the text says, per data set
  # A text with fields of the data set in braces, as "a photo that {caption}", or "magic_lens", "lincir", "searle",
  # "pic2word", "bge_vl" for what was published with these; "": text_query's. Evaluations average over text_variants
  # as well.
  config.text_template = ""
  config.text_variants = ()

  config.loss_block_rows = 0  # rows of similarities that a device holds at once (soft triplet: triplets); 0: all


def set_hard_negatives(config: ml_collections.ConfigDict) -> None:
  """Images that stand against a query's target beside the batch."""
  config.hard_negatives = ml_collections.ConfigDict()
  # Every so many steps each training image gets the `num` images of another label that the model finds most like it:
  # the loss sees the negatives of a query's target too. Needs data.placement "device"; 0: none.
  config.hard_negatives.every_steps = 0
  config.hard_negatives.num = 1


def set_optimizer(config: ml_collections.ConfigDict) -> None:
  """The optimiser, its learning rate and what it does to gradients and parameters."""
  config.optimizer = "sgd"  # or "adamw", "lars", "lamb"
  config.learning_rate = 0.01
  config.learning_rate_batch_size = 32  # what learning_rate is for
  config.learning_rate_scaling = "none"  # or "linear", "square_root": how it follows batch_size from there
  config.trunk_learning_rate_factor = 0.1  # for the image encoder's convolutions, for BERT and for towers
  config.layer_learning_rate_factor = 1.0  # of BERT and of towers: each layer by this slower than the one above it
  config.momentum = 0.9  # adamw, lamb: the decay of the first moment
  config.adam_b2 = 0.999  # adamw: the decay of the second moment
  config.adam_epsilon = 1e-8  # adamw: joins the root of the second moment
  config.weight_decay = 1e-6  # sgd: L2, joins every parameter's gradient; otherwise not for biases and norms
  config.decays_biases = False  # adamw: weight_decay is for biases and norms too
  config.num_warmup_steps = 0  # the learning rate rises linearly
  config.decay = "step"  # or "cosine", to zero at num_train_steps
  config.decay_every_steps = 50_000  # after the warm-up; the learning rate takes the next factor
  config.decay_factor = 0.1
  config.max_gradient_norm = 0.0  # a longer gradient is shortened to it; 0: none is
  config.ema_decay = 0.0  # evaluates a moving average of the parameters and batch statistics; 0: themselves


def set_reports_and_checkpoints(config: ml_collections.ConfigDict) -> None:
  """How often a run reports, evaluates and saves, and what it measures."""
  config.log_every_steps = 50
  config.eval_every_steps = 5_000
  config.checkpoint_every_steps = 1_000
  config.num_newest_checkpoints = 2
  config.on_bad_checkpoint = "previous"  # or "stop": what to do when the newest one is damaged
  config.preemption_grace_seconds = 25.0  # a run that is asked to end is gone after these, saved or not
  config.best_metric = "R@1"  # the best checkpoint by it is kept too

  # "wandb" or "mlflow" gets the metrics and pictures too; each start of a run is a run there, in the workdir's group.
  config.tracker = ""
  config.tracker_project = "composeret"  # the project, or the experiment, that the tracker puts it into

  config.profile_steps = ""  # "10:15" writes a profiler trace of steps 10 to 14 to the workdir's profile/
  config.peak_flops = 0.0  # what one device can do in a second, for speed/mfu; 0: from the table of known devices


def set_data(config: ml_collections.ConfigDict) -> None:
  """Images, and how they come to the devices; `data.dataset` is for a data set's own file."""
  config.data = ml_collections.ConfigDict()
  config.data.dir = ""  # the raw files, for data sets that have to be downloaded by hand
  config.data.prepared_dir = ""  # prepared data sets; by default composeret_jax in the user's cache folder
  config.data.compilation_cache = ""  # a folder for compiled programs, which later starts read; "": compiles each time
  config.data.image_size = 224  # pixels, square
  # The shorter side to image_size, then the centre; or "squash": both sides to it; or "magic_lens": squashed, and as
  # bright as the image's own largest value makes it; or "pad": black beside what is more than 1.25 times as long as
  # wide, and then "crop".
  config.data.resize = "crop"
  config.data.interpolation = "bilinear"  # or "bicubic"; either anti-aliased
  # Or "device": all training images on every device, when they fit; else, under jit, an equal part on each, if that
  # fits, from which a step gathers its rows; else they are streamed.
  config.data.placement = "stream"
  config.data.device_memory_share = 0.5  # of a device's memory that placement "device" may fill with images
  config.data.pixels = "store"  # decode once, into a file beside the prepared data; or "decode", in every epoch again
  config.data.on_bad_image = "fail"  # or "skip": leaves out what cannot be decoded, with its queries, and counts it
  config.data.allow_other_content = False  # goes on from a checkpoint though it was made with other rows or images
  # Rows of each batch that are drawn in groups whose targets share all but what the texts change (a noun, all but one
  # word of a caption, the reference of listed queries), so that the text alone tells them apart; 0: none.
  config.data.siblings_per_batch = 0
  config.data.validation_share = 0.0  # of the training labels, held out for best_metric; 0: the test split is for it
  config.data.num_workers = 2  # processes that decode; 0 decodes in this one


def set_steps(config: ml_collections.ConfigDict) -> None:
  """Changes of training images, and how steps run."""
  config.augment = ml_collections.ConfigDict()
  config.augment.min_crop_area = 1.0  # share of the image in a random part that stands for it; 1: the image itself
  config.augment.flip = False  # mirrors every other image

  config.train = ml_collections.ConfigDict()
  config.train.steps_per_call = 1  # steps in one dispatch; all periods and num_train_steps are multiples of it
  config.train.num_microbatches = 1  # pieces that a batch is encoded in; batch norm then sees one piece at a time

  config.train.on_nonfinite = "stop"  # or "skip": what to do with a step whose loss or gradient is not finite
  config.train.max_skipped_in_a_row = 10  # a run that has skipped so many steps one after the other stops


def set_evaluation(config: ml_collections.ConfigDict) -> None:
  """How the test queries are ranked."""
  config.eval = ml_collections.ConfigDict()
  config.eval.batch_size = 128  # images, texts or queries on each device at a time; no result depends on it
  config.eval.query_block = 256  # similarities held at once: query_block x gallery_block, over all devices
  config.eval.gallery_block = 8_192
  config.eval.allow_unanswerable_queries = False  # counts queries without a right image in the gallery as misses
  # The first so many of a query's images are counted again, as rerank/..., in the order of cosine(composed, image) +
  # rerank_weight * cosine(text, what the text decoder reads from the image); 0: not.
  config.eval.rerank = 0
  config.eval.rerank_weight = 0.5
