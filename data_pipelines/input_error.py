"""The one error for what a user gave and the program cannot use."""


class InputError(ValueError):
  """Bad configuration, files or data. The message says what was found, what was expected and where."""
