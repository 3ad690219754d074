"""Every flag of the command line except --mode, and how their values are read."""

import pathlib

from absl import flags
from ml_collections import config_flags

from data_pipelines.buckets.addresses import AnyPath
from data_pipelines.input_error import InputError
from data_pipelines.paths import local_path, path_or_address

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Configuration: a packaged name or a file, with an argument after a colon, as in shapes:rotor."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, metrics and pictures.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Joins the other processes of this job, found by the cluster.")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, if no cluster announces it.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes of the job.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", lower_bound=0)
SUBMISSION = flags.DEFINE_string("submission", None, "Folder for the files that a test server takes.")
BEAM_RUNNER = flags.DEFINE_string("beam_runner", None, "Apache Beam runner that prepares the data: DirectRunner, ...")
BEAM_OPTIONS = flags.DEFINE_string("beam_options", "", "Options of the runner in one string: '--parallelism=8 ...'.")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Checkpoint file of the original program: .pth, .pt or .pkl.")
CHECKPOINT_STEP = flags.DEFINE_string(
  "checkpoint_step", "", "`best`, or a step's number; the newest checkpoint if empty."
)
BUNDLE = flags.DEFINE_string("bundle", None, "Folder of the exported model.")
TOWERS = flags.DEFINE_string("towers", None, "Folder of the towers' weights.")
REPO = flags.DEFINE_string("repo", None, "Repository of the Hugging Face hub, ORG/NAME.")
LICENSE = flags.DEFINE_string("license", "", "Licence for the model card, as the hub names it: apache-2.0, ...")
PRIVATE = flags.DEFINE_bool(
  "private", False, "Creates the repository for its owner alone; by default as the owner's settings say."
)
ONNX = flags.DEFINE_bool("onnx", False, "Writes ONNX files as well; needs the extra onnx.")
INDEX = flags.DEFINE_string("index", None, "A folder, milvus:FILE.db or milvus:http://HOST:PORT.")
IMAGES = flags.DEFINE_string("images", None, "Folder of images, or `gallery` for the gallery of --config's data set.")
CAPTIONS = flags.DEFINE_string(
  "captions", None, "CSV, JSON lines or Parquet with columns id and caption, for --images."
)
METADATA = flags.DEFINE_string(
  "metadata", None, "CSV, JSON lines or Parquet with a column id and any others, for --images."
)
DELETE = flags.DEFINE_multi_string("delete", [], "Id of an image to remove from the index; may be repeated.")
PRUNE = flags.DEFINE_bool("prune", False, "Removes images from the index that --images no longer has.")
SHARD = flags.DEFINE_string("shard", None, "NUMBER/COUNT: the part of --images that this process encodes.")
QUANTISE = flags.DEFINE_bool(
  "quantise", False, "Keeps 8-bit copies of the features, for faster searches of large indexes; needs the extra faiss."
)
ON_BAD_IMAGE = flags.DEFINE_enum("on_bad_image", "fail", ("fail", "skip"), "What an unreadable image does.")
IMAGE = flags.DEFINE_string("image", None, "The reference: an id of the index, or a file.")
TEXT = flags.DEFINE_multi_string("text", [], "The change to the reference; may be repeated, one turn after the other.")
K = flags.DEFINE_integer("k", 10, "Number of images to find.", lower_bound=1)
JSON = flags.DEFINE_bool("json", False, "Prints JSON.")
PICTURE = flags.DEFINE_string("picture", "results.png", "Picture of the results, the first 100.")
PLOT = flags.DEFINE_string("plot", None, "PNG file for the loss and the recall of each run; needs the extra plot.")
TOPOLOGY = flags.DEFINE_string("topology", None, "TPU slice to compile for, as v5e:16x16; by default the devices here.")
REPORT = flags.DEFINE_string("report", None, "JSON file for what the compiled step needs.")
SUGGEST = flags.DEFINE_bool(
  "suggest", False, "If the step does not fit, compiles it with changes that may make it fit."
)
VOCABULARY_SIZE = flags.DEFINE_integer(
  "vocabulary_size", 10_000, "Words of an LSTM, or different texts of a frozen text encoder.", lower_bound=1
)
TEXT_LENGTH = flags.DEFINE_integer("text_length", 16, "Tokens of the longest text.", lower_bound=1)
NUM_IMAGES = flags.DEFINE_integer(
  "num_images", 0, "Training images that config.data.placement=device holds.", lower_bound=0
)
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to serve on; 0.0.0.0 is every address of this machine.")
PORT = flags.DEFINE_integer("port", 7860, "Port to serve on.", lower_bound=1, upper_bound=65535)
WORKERS = flags.DEFINE_integer("workers", 1, "Processes that answer searches at the port.", lower_bound=1)
URL_PREFIX = flags.DEFINE_string("url_prefix", "", "Path under which a proxy shows the service, as /shop.")
PAGE_TITLE = flags.DEFINE_string("page_title", "Search by picture and words", "Title of the page.")
PAGE_LOGO = flags.DEFINE_string("page_logo", None, "Picture beside the title: a file .svg, .png, .jpg or .webp.")
PAGE_ACCENT = flags.DEFINE_string("page_accent", "", "Colour of the page's buttons and links, as #0a7f5a.")
API_KEYS = flags.DEFINE_string("api_keys", None, "File with an API key on each line; clients need one of them.")
RATE_LIMIT = flags.DEFINE_integer("rate_limit", 0, "Requests a minute of each client; 0 for any.", lower_bound=0)
SUGGESTIONS = flags.DEFINE_string(
  "suggestions",
  None,
  "File of triplets, as a catalogue's: their texts are suggested for pictures like their references.",
)
FEEDBACK = flags.DEFINE_string("feedback", None, "JSON lines file for the results that people choose.")


def required_text(flag: flags.FlagHolder) -> str:
  """The value of a flag; raises InputError if it is not set."""
  if not flag.value:
    raise InputError(f"`composeret {flags.FLAGS.mode}` needs --{flag.name}")
  return str(flag.value)


def path(flag: flags.FlagHolder) -> pathlib.Path:
  """The local path that a flag names; raises InputError for an address (`gs://...`)."""
  return local_path(flag.value, f"--{flag.name}")


def path_or_bucket(flag: flags.FlagHolder) -> AnyPath:
  """The path that a flag names, on this machine or in a bucket (`gs://BUCKET/FOLDER`)."""
  return path_or_address(flag.value, f"--{flag.name}")
