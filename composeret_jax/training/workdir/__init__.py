"""What a workdir must be for a run to come back to it."""
