"""The command `composeret`, from a checkout that is not installed: `python -m tests.fakes.composeret MODE ...`."""

from composeret_jax.command.console import command

if __name__ == "__main__":
  command()
