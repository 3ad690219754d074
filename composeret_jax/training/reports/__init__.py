"""What a run reports: on the terminal, in its workdir, and to trackers."""
