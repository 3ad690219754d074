"""Composed image retrieval in JAX: a reference image and a sentence in, the image that the sentence asks for out."""
