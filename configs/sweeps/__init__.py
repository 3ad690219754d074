"""Lists of runs to compare: what each changes in a configuration."""
