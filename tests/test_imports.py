import subprocess
import sys

PROGRAM = """
import sys
sys.modules["tensorflow_datasets"] = None  # importing it fails
import composeret_jax.evaluation.protocols, composeret_jax.evaluation.retrieval, composeret_jax.train_step.step
import data_pipelines.loader, data_pipelines.samplers, composeret_jax.serving.index.sources
"""


def test_model_step_search_and_loader_need_no_tensorflow_datasets():
  result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
  assert result.returncode == 0, result.stderr
