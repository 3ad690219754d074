"""Bundles, indexes and the page in the hands of somebody who means harm: `python -m benchmarks.fuzz`."""
