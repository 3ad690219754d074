"""What is saved can be restored, or is refused: where a path is Orbax' glob, and where its merge merges nothing."""

from etils import epath
import pytest

from composeret_jax.training.checkpoints import Checkpoints
from composeret_jax.training.train import train
from composeret_jax.training.workdir import restorable
from data_pipelines.input_error import InputError
from tests.composeret_jax.training.test_checkpoints import save, state


@pytest.mark.parametrize("name", ["run[1]", "[run", "a*", "what?", "back\\slash", "**"])
def test_a_workdir_that_nothing_can_be_restored_from_is_refused_before_training(config, tmp_path, name):
  workdir = tmp_path / name / "run"
  with pytest.raises(InputError, match=r"--workdir=.* cannot be used: no checkpoint can be restored .*another folder"):
    train(config, workdir)
  assert not workdir.exists()


def test_a_workdir_that_is_not_utf8_is_refused_with_its_bytes_escaped(config, tmp_path):
  with pytest.raises(InputError, match=r"caf\\udce9 cannot be used: the path is not UTF-8"):
    train(config, tmp_path / "caf\udce9")


@pytest.mark.parametrize(
  "name", ["run 1", "run]", "{a,b}", "#1", "a%5B", "50%", "~run", "größe", "赤", "a'b\"c", "x;&|$y"]
)
def test_other_signs_save_and_restore(config, tmp_path, name):
  restorable.check_savable(tmp_path / name)
  save(tmp_path / name, config, {3: None})
  assert Checkpoints(tmp_path / name, config, {}).restore(3, state(0)).step == 3


def test_a_link_with_such_a_name_is_a_workdir(tmp_path):
  (tmp_path / "folder").mkdir()
  (tmp_path / "run[1]").symlink_to(tmp_path / "folder")
  restorable.check_savable(tmp_path / "run[1]")


def test_a_checkpoint_that_cannot_be_restored_gets_no_name(config, tmp_path):
  workdir = tmp_path / "run[1]"
  with pytest.raises(InputError, match=r"cannot be restored: \w+ lacks (\d) of \1 entries .*another --workdir"):
    save(workdir, config, {3: None})
  assert not (workdir / "checkpoints" / "3").exists()


def test_a_workdir_in_s3_is_refused_by_name():
  with pytest.raises(
    InputError, match="--workdir=s3://bucket/run cannot be used: Orbax completes a checkpoint by renaming"
  ):
    restorable.check_savable(epath.Path("s3://bucket/run"))
