"""Corpora of real pictures, built from public packages: `python -m benchmarks.corpora`."""
