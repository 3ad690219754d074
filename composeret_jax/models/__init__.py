"""Networks as pure modules: layers, encoders, composers, and the retrieval model made of them. No files."""
