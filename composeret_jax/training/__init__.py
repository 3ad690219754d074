"""The host's side of training: opens a run, loops over steps, saves checkpoints, reports."""
