"""Reads a model's folder by transformers: its configuration, its tokenizer and its image processor."""
