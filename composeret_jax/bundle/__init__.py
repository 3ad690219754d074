"""A trained model as a folder that answers any image and any text: `load(folder)`.

Needs jax, flatbuffers (by which jax reads its exported programs), numpy, pillow, safetensors and tokenizers; nothing of
what training needs. docs/bundle.md says what is in the folder, composeret_jax/export.py writes it.
"""

from composeret_jax.bundle.images import ImageInput
from composeret_jax.bundle.loaded import Bundle, load

__all__ = ["Bundle", "ImageInput", "load"]
