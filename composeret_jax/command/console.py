"""The command `composeret`: `composeret train --config=shapes --workdir=RUN`."""

from collections.abc import Iterable
import importlib.metadata
import os
import sys
import textwrap

from absl import flags
from ml_collections import config_flags

from composeret_jax.command import config_list, program, run_flags
from composeret_jax.command.modes import Mode, MODES

_OVERRIDES = (
  "--config.FIELD=VALUE overrides a field of the configuration; `composeret config --config=NAME` lists them."
)
_HELP = ("help", "--help", "-h", "-help")
_LISTS = {
  "configs": "Lists the configurations and the models.",
  "config": "Prints every field of a configuration with its value and its comment.",
}


def command() -> None:
  """Runs `composeret`; exits with 0 if all went well, else with a message."""
  name, *rest = sys.argv[1:] or ["help"]
  if name in _HELP:
    _print(_help(rest[0]) if rest and rest[0] in (*MODES, *_LISTS) else overview())
  elif any(argument in _HELP[1:] for argument in rest) and name in (*MODES, *_LISTS):
    _print(_help(name))
  elif name in ("version", "--version"):
    _print(importlib.metadata.version("composeret-jax"))
  elif name == "configs":
    _print(config_list.configs_and_models())
  elif name == "config":
    _parse_config(rest)
    _print(config_list.fields(run_flags.CONFIG.value, config_flags.get_config_filename(flags.FLAGS["config"])))
  elif name in MODES:
    _run_mode(name, rest)
  else:
    sys.exit(f"error: composeret has no command {name!r}\n\n{overview()}")


def _print(text: str) -> None:
  """Prints a text, of which `| head` may read a part only."""
  try:
    print(text, flush=True)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends


def _run_mode(name: str, rest: list[str]) -> None:
  mode = MODES[name]
  _check_flags_belong(name, mode, rest)
  program.launch([f"composeret {name}", f"--mode={name}", *rest])


def _parse_config(rest: list[str]) -> None:
  """Reads `--config=NAME` and its overrides; exits with a message if there is none."""
  program.parse_flags(["composeret config", *rest])
  if run_flags.CONFIG.value is None:
    sys.exit("error: `composeret config` needs --config: `composeret configs` lists the configurations")


def overview() -> str:
  """All commands, each with what it does."""
  commands = {name: mode.run.__doc__ for name, mode in MODES.items()}
  lines = [f"  {name:<12} {summary}" for name, summary in (commands | _LISTS).items()]
  return "\n".join(
    ["Trains, evaluates, exports and serves models for composed image retrieval.", "", "Commands:", *lines, ""]
    + ["`composeret COMMAND --help` lists the flags of a command."]
  )


def _help(name: str) -> str:
  if name in MODES:
    return mode_help(name)
  needed = ["", "Needed:", *_flag_lines([run_flags.CONFIG]), "", _OVERRIDES] if name == "config" else []
  return "\n".join([f"composeret {name}: {_LISTS[name]}", *needed])


def mode_help(name: str) -> str:
  """The flags of a mode, the needed ones first."""
  mode = MODES[name]
  needed = _flag_lines(mode.needed)
  optional = _flag_lines(mode.optional)
  named = f"composeret {name} {mode.arguments}".rstrip()
  parts = [f"{named}: {(mode.run.__doc__ or '').splitlines()[0]}"]
  parts += ["", "Needed:", *needed] if needed else []
  parts += ["", "Optional:", *optional] if optional else []
  parts += ["", _OVERRIDES] if run_flags.CONFIG.name in mode.flag_names else []
  return "\n".join(parts)


def _flag_lines(holders: Iterable[flags.FlagHolder]) -> list[str]:
  """Each flag with its help, and its default if it has one."""
  lines = []
  for holder in holders:
    default = "" if holder.default in (None, "", []) else f" Default: {holder.default}."
    text = flags.FLAGS[holder.name].help.splitlines()[0].removesuffix(";") + default
    lines += [f"  --{holder.name}", *textwrap.wrap(text, 96, initial_indent="      ", subsequent_indent="      ")]
  return lines


def _check_flags_belong(name: str, mode: Mode, rest: list[str]) -> None:
  """Exits with a message at a flag of another mode, which this one would not read."""
  others = {flag for other in MODES.values() for flag in other.flag_names} - mode.flag_names | {"mode"}
  for argument in rest:
    flag = argument.lstrip("-").split("=")[0].split(".")[0].removeprefix("no")
    if argument.startswith("-") and flag in others:
      sys.exit(f"error: `composeret {name}` has no flag --{flag}; `composeret {name} --help` lists its flags")
