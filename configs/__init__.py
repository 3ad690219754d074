"""Run configurations: plain Python that returns an ml_collections.ConfigDict."""
