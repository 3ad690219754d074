"""The program's modes, from raw data to search: `python launch.py --config=configs/shapes.py --workdir=RUN`."""

from composeret_jax.command.program import launch

if __name__ == "__main__":
  launch()
