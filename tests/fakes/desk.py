"""A working folder in which documented commands run: small data at the paths that documents name, tiny models."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

from tests.documented_commands import ROOT
from tests.fakes import tiny, tiny_datasets

# What a test adds to a documented training.
SHORT = ("--config.num_train_steps=2", "--config.num_warmup_steps=0")
TINY = (
  "--config.batch_size=4",
  "--config.data.image_size=32",
  "--config.data.num_workers=0",
  "--config.model.image_encoder.width=4",
  "--config.model.image_encoder.stage_sizes=(1,)",
)
# The modes that make a model from --config.
WITH_MODEL = ("train", "eval", "submit", "import", "compile", "export")


def make(folder: pathlib.Path) -> pathlib.Path:
  """The folder, with pictures and their captions, MIT-States, CIRR, CIRCO, FashionIQ and Fashion200k."""
  names = [f"{number}.png" for number in range(12)]
  for number, name in enumerate(names):
    tiny_datasets.write_image(folder / "pictures" / name, number)
  for number, name in enumerate(("my_drawing.png", "a.png", "a.jpg", "b.jpg", "shirt.jpg", "mine.jpg")):
    tiny_datasets.write_image(folder / name, 90 + number)
  things = [(colour, thing) for colour in ("red", "blue", "green") for thing in ("shirt", "dress", "hat", "bag")]
  splits = ["test" if thing == "hat" else "train" for _, thing in things]
  lines = [
    f"{name},{colour} {thing},{split}" for name, (colour, thing), split in zip(names, things, splits, strict=True)
  ]
  (folder / "captions.csv").write_text("\n".join(["image,caption,split", *lines]))
  tiny.make_mit_states(folder / "mit_states")
  tiny_datasets.make_cirr(folder / "cirr")
  tiny_datasets.make_circo(folder / "circo")
  tiny_datasets.make_fashion_iq(folder / "fashion_iq")
  tiny_datasets.make_fashion200k(folder / "fashion200k")
  return folder


def run(folder: pathlib.Path, mode: str, arguments: list[str], *, env: dict[str, str] | None = None) -> str:
  """Runs a command of a document in the folder: trainings for few steps, a server until it answers; what it printed."""
  if mode == "serve":
    with served(folder, arguments) as address:
      return f"Page: {address}"
  command = _command(mode, arguments)
  done = subprocess.run(command, cwd=folder, env=environment(folder, env), capture_output=True, text=True, timeout=1200)
  assert done.returncode == 0, f"composeret {mode} {' '.join(arguments)}\n{done.stderr[-3000:]}"
  return done.stdout


@contextlib.contextmanager
def served(folder: pathlib.Path, arguments: list[str]) -> Iterator[str]:
  """Serves at a free port while the block runs; the address."""
  port = free_port()
  command = [*_command("serve", arguments), f"--port={port}"]
  with subprocess.Popen(command, cwd=folder, env=environment(folder), text=True, stdout=subprocess.PIPE) as server:
    try:
      assert f"Page: http://127.0.0.1:{port}/" in next(line for line in server.stdout if line.startswith("Page:"))
      yield f"http://127.0.0.1:{port}"
    finally:
      server.send_signal(signal.SIGTERM)
      with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(30)
      server.kill()


def free_port() -> int:
  """A port of this machine at which nothing listens."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


def run_python(folder: pathlib.Path, program: str, *, env: dict[str, str] | None = None) -> str:
  """Runs a program that a document shows in the folder; what it printed."""
  command = [sys.executable, "-c", program]
  done = subprocess.run(command, cwd=folder, env=environment(folder, env), capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, f"{program}\n{done.stderr[-3000:]}"
  return done.stdout


def environment(folder: pathlib.Path, more: dict[str, str] | None = None) -> dict[str, str]:
  """This process's environment, with the user's cache in the folder."""
  return os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")} | (more or {})


def _command(mode: str, arguments: list[str]) -> list[str]:
  here = [argument.replace("/path/to/", "") for argument in arguments]
  describes_a_model = mode in WITH_MODEL and any(argument.startswith("--config=") for argument in here)
  trains = mode == "train" and "--config.num_train_steps=0" not in here
  shorter = (*(SHORT if trains else ()), *(TINY if describes_a_model else ()))
  return [sys.executable, "-m", "tests.fakes.composeret", mode, *here, *shorter]
