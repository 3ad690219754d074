"""What transformers reads of a model's folder: its configuration, its tokenizer and its image processor."""
