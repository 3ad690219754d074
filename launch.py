"""The program's modes, from raw data to search: `python launch.py --config=configs/shapes.py --workdir=RUN`."""

from collections.abc import Callable
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A file of configs/, with :model; --config.FIELD=VALUE overrides."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run's checkpoints, metrics and pictures are.")
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join this job's other processes, as the cluster names them.")
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, where no cluster says it.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes the job has.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is.", lower_bound=0)
_SUBMISSION = flags.DEFINE_string("submission", None, "The folder that --mode=submit writes a test server's files to.")
_BEAM_RUNNER = flags.DEFINE_string("beam_runner", None, "For --mode=prepare on Apache Beam: DirectRunner, ...")
_BEAM_OPTIONS = flags.DEFINE_string("beam_options", "", "The runner's own, in one string: '--parallelism=8 ...'.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The original program's .pth file, for --mode=import.")
_BUNDLE = flags.DEFINE_string("bundle", None, "The folder that --mode=export writes; the others use it.")
_TOWERS = flags.DEFINE_string("towers", None, "The folder that --mode=save_towers writes.")
_ONNX = flags.DEFINE_bool("onnx", False, "For --mode=export: ONNX files as well; needs the extra onnx.")
_INDEX = flags.DEFINE_string("index", None, "A folder, milvus:FILE.db or milvus:http://HOST:PORT.")
_IMAGES = flags.DEFINE_string("images", None, "For --mode=index: a folder, or gallery: that of --config's data set.")
_CAPTIONS = flags.DEFINE_string("captions", None, "For --mode=index of a folder: CSV with columns id and caption.")
_DELETE = flags.DEFINE_multi_string("delete", [], "For --mode=index: an image to remove, by id; may be repeated.")
_PRUNE = flags.DEFINE_bool("prune", False, "For --mode=index: removes what --images no longer has.")
_SHARD = flags.DEFINE_string("shard", None, "For --mode=index: NUMBER/COUNT, the part of --images for this process.")
_ON_BAD_IMAGE = flags.DEFINE_enum("on_bad_image", "fail", ("fail", "skip"), "For --mode=index.")
_IMAGE = flags.DEFINE_string("image", None, "For --mode=search: the reference, an id of the index or a file.")
_TEXT = flags.DEFINE_multi_string("text", [], "For --mode=search: what to change; repeated, one turn after the other.")
_K = flags.DEFINE_integer("k", 10, "For --mode=search: how many images.", lower_bound=1)
_JSON = flags.DEFINE_bool("json", False, "For --mode=search: prints JSON.")
_PICTURE = flags.DEFINE_string("picture", "results.png", "For --mode=search: the picture to write.")

_HOST = flags.DEFINE_string("host", "127.0.0.1", "For --mode=serve: the address; 0.0.0.0 is all of this machine's.")
_PORT = flags.DEFINE_integer("port", 7860, "For --mode=serve.", lower_bound=1, upper_bound=65535)


def _train() -> None:
  from composeret_jax.training.train import train

  train(_CONFIG.value, _path(_WORKDIR))


def _evaluate() -> None:
  from composeret_jax.training.train import evaluate

  evaluate(_CONFIG.value, _path(_WORKDIR))


def _submit() -> None:
  from composeret_jax.export.submission import submit

  submit(_CONFIG.value, _path(_WORKDIR), _path(_SUBMISSION))


def _prepare() -> None:
  from composeret_jax.training.config.check import check_config
  from data_pipelines.dataset import prepare
  from data_pipelines.datasets.beam import Beam

  check_config(_CONFIG.value, num_devices=1)
  prepare(_CONFIG.value.data, Beam(_BEAM_RUNNER.value, _BEAM_OPTIONS.value) if _BEAM_RUNNER.value else None)


def _import() -> None:
  from composeret_jax.training.import_original import import_checkpoint

  import_checkpoint(_CONFIG.value, _path(_WORKDIR), _path(_CHECKPOINT))


def _export() -> None:
  from composeret_jax.export.bundle import export

  export(_CONFIG.value, _path(_WORKDIR), _path(_BUNDLE), onnx=_ONNX.value)


def _save_towers() -> None:
  from composeret_jax.export.towers import save_towers

  save_towers(_CONFIG.value, _path(_WORKDIR), _path(_TOWERS))


def _index() -> None:
  from composeret_jax.serving.bundle import load
  from composeret_jax.serving.index.build import fill_index
  from composeret_jax.serving.index.sources import folder_images, parse_shard

  shard = parse_shard(_SHARD.value) if _SHARD.value else None
  images = None
  if _IMAGES.value == "gallery" and _CONFIG.value is not None:
    from composeret_jax.export.gallery_images import gallery_images

    images = gallery_images(_CONFIG.value)
  elif _IMAGES.value or not _DELETE.value:
    _require(_IMAGES)
    images = folder_images(_path(_IMAGES), _path(_CAPTIONS) if _CAPTIONS.value else None)
  fill_index(
    load(_text(_BUNDLE)),
    _text(_INDEX),
    images,
    delete=_DELETE.value,
    on_bad_image=_ON_BAD_IMAGE.value,
    prune=_PRUNE.value,
    shard=shard,
  )


def _search() -> None:
  from composeret_jax.serving.search_command import search
  from composeret_jax.serving.searcher import Searcher

  searcher = Searcher.open(_text(_BUNDLE), _text(_INDEX))
  search(searcher, _text(_IMAGE), _TEXT.value, k=_K.value, as_json=_JSON.value, picture=_path(_PICTURE))


def _serve() -> None:
  from composeret_jax.serving.page.server import serve
  from composeret_jax.serving.searcher import Searcher

  serve(Searcher.open(_text(_BUNDLE), _text(_INDEX)), _HOST.value, _PORT.value)


# What each mode runs, and the flags that it needs.
MODES: dict[str, tuple[Callable[[], None], tuple[flags.FlagHolder, ...]]] = {
  "train": (_train, (_CONFIG, _WORKDIR)),
  "eval": (_evaluate, (_CONFIG, _WORKDIR)),
  "submit": (_submit, (_CONFIG, _WORKDIR, _SUBMISSION)),
  "prepare": (_prepare, (_CONFIG,)),
  "import": (_import, (_CONFIG, _WORKDIR, _CHECKPOINT)),
  "export": (_export, (_CONFIG, _WORKDIR, _BUNDLE)),
  "save_towers": (_save_towers, (_CONFIG, _WORKDIR, _TOWERS)),
  "index": (_index, (_BUNDLE, _INDEX)),
  "search": (_search, (_BUNDLE, _INDEX, _IMAGE)),
  "serve": (_serve, (_BUNDLE, _INDEX)),
}

_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")


def main(_) -> None:
  """Does what --mode says."""
  # After the flags: a mistyped one is answered at once.
  from composeret_jax.evaluation.retrieval import NonFiniteError
  from data_pipelines.input_error import InputError
  from data_pipelines.paths import disk_problem, permission_problem

  try:
    function, needed = MODES[_MODE.value]
    _require(*needed)
    if "workdir" in [flag.name for flag in needed]:
      _check_apart_from_data(_CONFIG.value.data.dir)
    explicit = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    if _DISTRIBUTED.value or any(value is not None for value in explicit):
      from composeret_jax.distributed import join

      join(*explicit)
    function()
  except (InputError, NonFiniteError) as error:
    sys.exit(f"error: {error}")
  except Exception as error:
    problem = disk_problem(error) or permission_problem(error)
    if problem is None:
      raise
    sys.exit(f"error: {problem}")


def _text(flag: flags.FlagHolder) -> str:
  """The value of a flag that the mode needs."""
  _require(flag)
  return str(flag.value)


def _path(flag: flags.FlagHolder) -> pathlib.Path:
  from data_pipelines.paths import local_path

  return local_path(flag.value, f"--{flag.name}")


def _check_apart_from_data(data_dir: str) -> None:
  """Raises InputError where the program would write among the data that it reads."""
  from data_pipelines.paths import check_apart, local_path

  for flag in (_WORKDIR, _BUNDLE, _TOWERS, _SUBMISSION):
    if flag.value and data_dir:
      check_apart(_path(flag), f"--{flag.name}", local_path(data_dir, "config.data.dir"), "config.data.dir")


def _require(*needed: flags.FlagHolder) -> None:
  from data_pipelines.input_error import InputError

  missing = [f"--{flag.name}" for flag in needed if not flag.value]
  if missing:
    raise InputError(f"{', '.join(missing)} is not set: --mode={_MODE.value} needs it")


def parse_flags(arguments: list[str]) -> list[str]:
  """absl's flags; a mistake in them is one message without a traceback."""
  try:
    rest = flags.FLAGS(arguments)
    if _CONFIG.value is not None:
      _CONFIG.value.keys()  # that there is no such file shows only here
    return rest
  except (flags.Error, AttributeError, KeyError, ValueError, TypeError, OSError) as error:
    message = str(error)
    if error.args and isinstance(error.args[0], KeyError):  # ml_collections' hint; str() would quote it
      message = error.args[0].args[0]
  # A configuration that refuses its argument says why; any other mistake inside one keeps its traceback.
  _, refused, reason = message.rpartition("\nValueError: ")
  sys.exit(f"error: {reason if refused else message}")


if __name__ == "__main__":
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=parse_flags)
