"""Weights that were trained elsewhere, read into this project's modules."""
