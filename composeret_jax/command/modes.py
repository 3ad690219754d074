"""The program's modes, from raw data to search: what each runs, and which flags it takes."""

from collections.abc import Callable
import dataclasses

from absl import flags

from composeret_jax.command import run_flags, run_modes, search_modes


@dataclasses.dataclass(frozen=True)
class Mode:
  """A mode's function, and its flags. The function's docstring describes the mode to users.

  `run` gets the arguments that are no flags, where the mode has a name for them in `arguments`.
  """

  run: Callable[..., None]
  needed: tuple[flags.FlagHolder, ...]
  optional: tuple[flags.FlagHolder, ...] = ()
  arguments: str = ""

  @property
  def flag_names(self) -> set[str]:
    """The names of all its flags."""
    return {flag.name for flag in self.needed + self.optional}


_RUN = (run_flags.CONFIG, run_flags.WORKDIR)
_TRAINED = (run_flags.WORKDIR,)
_CHOICE = (run_flags.CONFIG, run_flags.CHECKPOINT_STEP)  # by default the run's own, and its newest checkpoint
_PROCESSES = (run_flags.DISTRIBUTED, run_flags.COORDINATOR, run_flags.NUM_PROCESSES, run_flags.PROCESS_ID)
_SEARCHED = (run_flags.BUNDLE, run_flags.INDEX)

MODES = {
  "train": Mode(run_modes.train, _RUN, _PROCESSES),
  "eval": Mode(run_modes.evaluate, _TRAINED, (*_CHOICE, *_PROCESSES)),
  "submit": Mode(run_modes.submit, (*_TRAINED, run_flags.SUBMISSION), (*_CHOICE, *_PROCESSES)),
  "prepare": Mode(run_modes.prepare, (run_flags.CONFIG,), (run_flags.BEAM_RUNNER, run_flags.BEAM_OPTIONS)),
  "compile": Mode(
    run_modes.compile_step,
    (run_flags.CONFIG,),
    (
      run_flags.TOPOLOGY,
      run_flags.SUGGEST,
      run_flags.REPORT,
      run_flags.VOCABULARY_SIZE,
      run_flags.TEXT_LENGTH,
      run_flags.NUM_IMAGES,
    ),
  ),
  "import": Mode(run_modes.import_original, (*_RUN, run_flags.CHECKPOINT)),
  "export": Mode(run_modes.export, (*_TRAINED, run_flags.BUNDLE), (*_CHOICE, run_flags.ONNX, *_PROCESSES)),
  "save_towers": Mode(run_modes.save_towers, (*_TRAINED, run_flags.TOWERS), _CHOICE),
  "push": Mode(
    run_modes.push, (run_flags.BUNDLE, run_flags.REPO), (run_flags.TOWERS, run_flags.LICENSE, run_flags.PRIVATE)
  ),
  "runs": Mode(run_modes.compare_runs, (), (run_flags.PLOT,), arguments="WORKDIR..."),
  "index": Mode(
    search_modes.index,
    _SEARCHED,
    (
      run_flags.IMAGES,
      run_flags.CAPTIONS,
      run_flags.METADATA,
      run_flags.CONFIG,
      run_flags.DELETE,
      run_flags.PRUNE,
      run_flags.SHARD,
      run_flags.QUANTISE,
      run_flags.ON_BAD_IMAGE,
    ),
  ),
  "search": Mode(
    search_modes.search,
    (*_SEARCHED, run_flags.IMAGE),
    (run_flags.TEXT, run_flags.K, run_flags.JSON, run_flags.PICTURE),
  ),
  "serve": Mode(
    search_modes.serve,
    _SEARCHED,
    (
      run_flags.HOST,
      run_flags.PORT,
      run_flags.WORKERS,
      run_flags.URL_PREFIX,
      run_flags.PAGE_TITLE,
      run_flags.PAGE_LOGO,
      run_flags.PAGE_ACCENT,
      run_flags.API_KEYS,
      run_flags.RATE_LIMIT,
      run_flags.FEEDBACK,
      run_flags.SUGGESTIONS,
    ),
  ),
}
