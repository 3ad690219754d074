"""The rules for fields that must go together, whatever the data set and the composer."""

from collections.abc import Callable, Sequence
import functools

from composeret_jax.evaluation.evaluator import HALVES, RERANKED
from composeret_jax.models.composers import COMPOSERS
from composeret_jax.train_step.losses import LOSSES
from composeret_jax.train_step.triplets import MIN_BATCH_SIZE
from data_pipelines.datasets.prepare import BUILDERS, PROTOCOLS
from data_pipelines.field_rules import one_of, only, Together
from data_pipelines.texts.templates import PRESETS

PERIODS = (
  "num_train_steps",
  "log_every_steps",
  "eval_every_steps",
  "checkpoint_every_steps",
  "hard_negatives.every_steps",
)


LOSS_WEIGHTS = ("main", "image_reconstruction", "text_reconstruction", "rotational_symmetry")
WEIGHT = "model.loss_weights."


IMAGE, TEXT = "model.image_encoder.", "model.text_encoder."


# A composer that makes a word of a text from the image needs the two towers of one model, frozen.
WITH_PLACEHOLDER = {
  f"{IMAGE}name": "tower",
  f"{IMAGE}frozen": True,
  f"{IMAGE}feature_dim": 0,
  f"{TEXT}name": "tower",
  f"{TEXT}fine_tune": False,
  f"{TEXT}projection_dim": 0,
}


FROZEN = "with config.model.image_encoder.frozen"


def even_batch(num_devices: int) -> Together:
  """The rule that each device and each microbatch has an equal part of the batch."""

  def expected(batch_size: int, num_microbatches: int) -> str:
    if batch_size % num_devices:
      return f"a multiple of the {num_devices} devices"
    pieces = num_devices * num_microbatches
    if batch_size % pieces:
      return f"a multiple of {num_devices} devices x config.train.num_microbatches = {pieces}"
    return ""

  return Together("batch_size", ("train.num_microbatches",), expected)


def _loss_of_negatives(field: str, loss: str, value: int) -> str:
  if not value or LOSSES[loss].takes_hard_negatives:
    return ""
  taking = " or ".join(name for name, own in LOSSES.items() if own.takes_hard_negatives)
  return f"{taking} with config.{field} {'set' if value is True else 'above 0'}"


def _weight_of(loss: str) -> Callable[[float, str], str]:
  """For a loss's weight and the composer: what the composer cannot be trained with has the weight 0."""
  return lambda weight, composer: (
    f"0: {composer} has no such loss" if weight and loss not in COMPOSERS[composer].losses else ""
  )


def _no_maps(composer: str, image_encoder: str, frozen: bool) -> str:
  if not COMPOSERS[composer].composes_maps or image_encoder == "resnet" and not frozen:
    return ""
  return "one that composes features: of a tower, and of a frozen encoder, there are no maps"


def _composer_of_texts(composer: str, dataset: str) -> str:
  if not BUILDERS[dataset].images_are_texts or COMPOSERS[composer].placeholder:
    return ""
  words = " or ".join(name for name, own in COMPOSERS.items() if own.placeholder)
  return f"{words}, which can do without images: {dataset} has none"


def _text_encoder_folder(path: str, name: str) -> str:
  owner = {"lstm": "", "bert": "BERT", "tower": "the tower"}[name]
  return f"{owner}'s folder or hub repository" if owner and not path else ""


def _text_of_dataset(text_query: str, dataset: str) -> str:
  text_queries = BUILDERS[dataset].TEXT_QUERIES
  return "" if text_query in text_queries else f"{' or '.join(text_queries)}: {dataset} has no other"


def _protocol_of_dataset(protocol: str, dataset: str) -> str:
  owner = PROTOCOLS[protocol].dataset
  return f"another for {dataset}: it is {owner}'s" if owner not in ("", dataset) else ""


def _known_metric(metric: str, protocol: str, dataset: str, num_reranked: int, categories: Sequence[str] = ()) -> str:
  """The protocol counts the metric; protocols that count by category are asked with the categories alone."""
  if _protocol_of_dataset(protocol, dataset) or PROTOCOLS[protocol].by_category != bool(categories):
    return ""
  names = PROTOCOLS[protocol].metric_names(categories)
  prefixes = ("", *(f"{prefix}/" for prefix in (*HALVES, *((RERANKED,) if num_reranked else ()))))
  return "" if metric in {prefix + name for prefix in prefixes for name in names} else one_of(names)(metric)


def _trains(dataset: str) -> bool:
  return "train" in BUILDERS[dataset].IMAGE_SPLITS


def _validated(metric: str, protocol: str, validation_share: float) -> str:
  """Training queries have no subsets, so what is held out of them is counted without."""
  if not validation_share or not PROTOCOLS[protocol].subset_recall_at:
    return ""
  counted = PROTOCOLS[protocol].without_subsets().metric_names()
  is_counted = metric.rpartition("/")[0] != "subset" and metric.rpartition("/")[2] in counted
  return "" if is_counted else f"{one_of(counted)(metric)} with config.data.validation_share"


TOGETHER: tuple[Together, ...] = (
  *(
    Together(
      period,
      ("train.steps_per_call",),
      lambda steps, per_call: f"a multiple of config.train.steps_per_call = {per_call}" if steps % per_call else "",
    )
    for period in PERIODS
  ),
  Together(
    "parallel_state",
    ("parallel",),
    only("replicated", when=lambda parallel: parallel == "pmap", why="with parallel = pmap: each device has it whole"),
  ),
  Together(
    "decays_biases", ("optimizer",), only(False, when=lambda optimizer: optimizer != "adamw", why="without adamw")
  ),
  Together(
    "data.pixels",
    ("data.placement",),
    only("store", when=lambda placement: placement == "device", why="with data.placement = device"),
  ),
  Together(
    "data.interpolation",
    ("data.resize",),
    only("bilinear", when=lambda resize: resize == "magic_lens", why="with data.resize = magic_lens"),
  ),
  Together(
    "num_warmup_steps",
    ("num_train_steps",),
    lambda num_warmup, num: f"less than the {num} steps" if num and num_warmup >= num else "",
  ),
  Together(
    "batch_size",
    ("loss",),
    lambda size, loss: (
      f"at least {MIN_BATCH_SIZE}: {loss} needs negatives"
      if LOSSES[loss].draws_triplets and size < MIN_BATCH_SIZE
      else ""
    ),
  ),
  Together(
    "data.siblings_per_batch",
    ("batch_size",),
    lambda num, batch_size: f"at most config.batch_size = {batch_size}" if num > batch_size else "",
  ),
  Together(
    "data.placement",
    ("hard_negatives.every_steps",),
    only("device", when=bool, why="with config.hard_negatives.every_steps above 0"),
  ),
  *(
    Together("loss", (field,), functools.partial(_loss_of_negatives, field))
    for field in (
      "hard_negatives.every_steps",
      "loss_reference_as_negative",
      "loss_label_mask",
      "data.negatives_per_query",
    )
  ),
  Together(
    "eval.rerank",
    (f"{WEIGHT}text_reconstruction",),
    only(0, when=lambda weight: not weight, why="without a text decoder that text_reconstruction trains"),
  ),
  Together(
    "eval.rerank",
    ("protocol",),
    lambda num, protocol: (
      f"at most {PROTOCOLS[protocol].num_ranked}, which {protocol} looks at"
      if num > PROTOCOLS[protocol].num_ranked
      else ""
    ),
  ),
  Together(
    f"{IMAGE}pretrained",
    (f"{IMAGE}frozen",),
    lambda pretrained, frozen: f"weights {FROZEN}" if frozen and not pretrained else "",
  ),
  Together("augment.flip", (f"{IMAGE}frozen",), only(False, when=bool, why=FROZEN)),
  Together("augment.min_crop_area", (f"{IMAGE}frozen",), only(1, when=bool, why=FROZEN)),
  Together("data.pixels", (f"{IMAGE}frozen",), only("store", when=bool, why=FROZEN)),
  Together("model.composer", (f"{IMAGE}name", f"{IMAGE}frozen"), _no_maps),
  *(Together(WEIGHT + loss, ("model.composer",), _weight_of(loss)) for loss in LOSS_WEIGHTS),
  Together(
    f"{IMAGE}feature_dim",  # 0: the tower's own
    ("model.composer_options.num_heads",),
    lambda dim, heads: f"a multiple of config.model.composer_options.num_heads = {heads}" if dim % heads else "",
  ),
  Together(
    f"{IMAGE}feature_dim",
    ("model.composer",),
    lambda feature_dim, composer: COMPOSERS[composer].expected_image_dim(feature_dim),
  ),
  Together(
    WEIGHT + LOSS_WEIGHTS[0],
    tuple(WEIGHT + loss for loss in LOSS_WEIGHTS[1:]),
    lambda *weights: (
      "" if any(weights) else "above 0, as all other config.model.loss_weights are 0: there is nothing to learn"
    ),
  ),
  *(
    Together(
      field,
      ("model.composer",),
      only(right, when=lambda composer: bool(COMPOSERS[composer].placeholder), why="with a composer of words"),
    )
    for field, right in WITH_PLACEHOLDER.items()
  ),
  Together(f"{TEXT}path", (f"{TEXT}name",), _text_encoder_folder),
  Together(f"{TEXT}dtype", (f"{TEXT}name",), only("float32", when=lambda name: name == "lstm", why="with the lstm")),
  Together(f"{TEXT}unseen_id", (f"{TEXT}name",), only(-1, when=lambda name: name != "tower", why="without a tower")),
  Together(
    f"{TEXT}plain_signs", (f"{TEXT}name",), only(False, when=lambda name: name != "tower", why="without a tower")
  ),
  Together(f"{TEXT}remat", (f"{TEXT}name",), only(False, when=lambda name: name == "lstm", why="with the lstm")),
  Together(f"{IMAGE}remat", (f"{IMAGE}name",), only(False, when=lambda name: name == "resnet", why="with the resnet")),
  Together(
    f"{IMAGE}feature_dim",
    (f"{IMAGE}name",),
    lambda feature_dim, name: "at least 1 with the resnet" if name == "resnet" and not feature_dim else "",
  ),
  Together(
    f"{IMAGE}pretrained",
    (f"{IMAGE}name",),
    lambda pretrained, name: "the tower's folder or hub repository" if name == "tower" and not pretrained else "",
  ),
  Together("model.composer", ("data.dataset",), _composer_of_texts),
  Together("text_query", ("data.dataset",), _text_of_dataset),
  Together("text_query", ("text_template",), only("modification", when=bool, why="with config.text_template")),
  Together(
    "text_variants",
    ("text_template",),
    lambda variants, template: (
      "none, as config.text_template is no text" if variants and (not template or template in PRESETS) else ""
    ),
  ),
  Together("protocol", ("data.dataset",), _protocol_of_dataset),
  Together(
    "data.validation_share",
    ("data.dataset",),
    lambda share, dataset: f"0: {dataset} has no training data" if share and not _trains(dataset) else "",
  ),
  Together("best_metric", ("protocol", "data.validation_share"), _validated),
  Together("best_metric", ("protocol", "data.dataset", "eval.rerank"), _known_metric),
  Together("best_metric", ("protocol", "data.dataset", "eval.rerank", "data.categories"), _known_metric),
)
