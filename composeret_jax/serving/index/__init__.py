"""Features of a gallery with what is known of its images: filled by a bundle, searched exactly or by Milvus.

Needs jax and numpy; for an index in Milvus its client. docs/searching.md says what is in a folder of an index.
"""

from composeret_jax.serving.index.index import Entry, Index, Rows
from composeret_jax.serving.index.locations import create_index, open_index

__all__ = ["Entry", "Index", "Rows", "create_index", "open_index"]
