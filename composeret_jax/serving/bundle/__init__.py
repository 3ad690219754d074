"""A trained model as a folder that answers any image and any text: `load(folder)`.

Needs jax, flatbuffers (by which jax reads its exported programs), numpy, pillow, safetensors and tokenizers; nothing of
what training needs. docs/bundle.md says what is in the folder, composeret_jax/export/bundle.py writes it.
"""

from composeret_jax.serving.bundle.bundle import Bundle, load
from composeret_jax.serving.bundle.inputs import ImageInput

__all__ = ["Bundle", "ImageInput", "load"]
