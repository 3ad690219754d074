"""Reports of a run: on the terminal, in its workdir, and to trackers."""
