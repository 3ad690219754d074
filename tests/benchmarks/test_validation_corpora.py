"""Corpora to choose settings on: nothing of a test side is in them, and what is held out is not trained on."""

from benchmarks import validation_corpora
from data_pipelines.datasets.mit_states import TEST_NOUNS

CAPTIONS = [f"{icon} {style}" for icon in "abcdefghijkl" for style in ("filled", "regular")]


def write_file(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)


def lines(path):
  return [line.split("\t") for path in path.parent.glob(path.name) for line in path.read_text().splitlines()]


def test_emoji_are_those_of_training_and_some_have_test_nouns(tmp_path):
  for noun in [f"noun{i}" for i in range(60)] + ["armor"]:
    write_file(tmp_path / "raw" / "images" / f"dark {noun}" / "1.jpg", noun)
  validation_corpora.write_emoji(tmp_path / "raw", tmp_path / "out")
  content = {path.parent.name.split()[1]: path.read_text() for path in tmp_path.glob("out/images/*/1.jpg")}
  assert sorted(content.values()) == sorted(f"noun{i}" for i in range(60))
  held_out = {noun for noun in content if noun in TEST_NOUNS}
  assert len(held_out) == 48
  assert all(content[noun] == noun for noun in content.keys() - held_out)


def test_all_styles_of_an_icon_are_on_one_side_and_queries_lead_to_another_style(tmp_path):
  rows = [(f"women/x/{i}/{i}.jpeg", "0.9", caption) for i, caption in enumerate(CAPTIONS)]
  for name, _, _ in rows:
    write_file(tmp_path / "raw" / name, name)
  write_file(tmp_path / "raw/labels/x_train_detect_all.txt", "".join("\t".join(row) + "\n" for row in rows))
  write_file(tmp_path / "raw/labels/x_test_detect_all.txt", "women/x/t/t.jpeg\t0.9\ttest icon\n")
  validation_corpora.write_icons(tmp_path / "raw", tmp_path / "out")
  train, test = (lines(tmp_path / "out" / "labels" / f"*_{split}_*.txt") for split in ("train", "test"))
  assert sorted(train + test) == sorted(map(list, rows))
  icons = [{caption.split()[0] for _, _, caption in side} for side in (train, test)]
  assert len(icons[1]) == 2 and not icons[0] & icons[1]
  captions = {name: caption.split() for name, _, caption in test}
  pairs = [line.split() for line in (tmp_path / "out" / "test_queries.txt").read_text().splitlines()]
  assert {reference for reference, _ in pairs} == captions.keys()
  assert all(sum(a != b for a, b in zip(captions[r], captions[t], strict=True)) == 1 for r, t in pairs)
  assert all((tmp_path / "out" / name).read_text() == name for name, _, _ in rows)
