"""From raw files to batches on the devices."""
