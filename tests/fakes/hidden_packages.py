"""Runs a program in a process where only a bundle's packages can be imported."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]

# What a bundle is loaded with, and what of those jax needs; jax reads exported programs by flatbuffers.
ALLOWED = (
  "jax",
  "numpy",
  "PIL",
  "safetensors",
  "tokenizers",
  "flatbuffers",
  "jaxlib",
  "ml_dtypes",
  "opt_einsum",
  "scipy",
)

PREAMBLE = f"""
import importlib.machinery, sys

ALLOWED = {(*ALLOWED, "composeret_jax", "data_pipelines")!r}

class Allowed:
  @staticmethod
  def find_spec(name, path=None, target=None):
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ALLOWED or top.startswith("_sysconfigdata"):
      return importlib.machinery.PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, Allowed]
for name in [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names]:
  if not name.startswith("__"):
    del sys.modules[name]  # what .pth files have imported
"""


def run(program: str, *arguments: str) -> str:
  """What the program prints; fails with its errors when it does."""
  command = [sys.executable, "-c", PREAMBLE + program, *arguments]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
  assert result.returncode == 0, result.stderr
  return result.stdout
