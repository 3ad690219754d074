import pytest

pytest.importorskip("matplotlib")

from PIL import Image  # noqa: E402

from benchmarks.long_run import draw, Look, report, slope, tiny_config, watched  # noqa: E402


def test_growth_is_seen_after_the_warm_up():
  grows = [Look(step, 1_000 * (step < 20) + 5 * step, 7) for step in range(0, 101, 10)]
  assert slope(grows, "host") == pytest.approx(5)
  assert slope(grows, "device") == pytest.approx(0)


@pytest.mark.slow  # a run in a process of its own
def test_a_short_run_is_watched(config, tmp_path):
  tiny = tiny_config(20)
  tiny.data.prepared_dir = config.data.prepared_dir
  looks = watched(tiny, tmp_path / "run", seconds=0.05)
  assert looks[-1].step == 20
  assert looks[-1].host > 100e6 and max(look.device for look in looks) > 1_000
  draw(looks, tmp_path / "memory.png")
  with Image.open(tmp_path / "memory.png") as picture:
    assert picture.size == (800, 500)
  assert "20 steps in 3 s" in report(looks, 3.0)
