"""The command line: `composeret MODE ...`, and `launch.py --mode=MODE ...` in a checkout."""
