"""TFDS builders: raw files to ArrayRecord tables. The only place that imports tensorflow_datasets."""
