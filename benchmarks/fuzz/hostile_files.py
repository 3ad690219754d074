"""Copies of bundles and of indexes with something wrong in them; each is a function of a random generator."""

from collections.abc import Callable, Iterator, Sequence
import copy
import hashlib
import json
import pathlib
import random
import shutil
from typing import Any

from composeret_jax.serving.bundle import layout
from composeret_jax.serving.index.segment import ENTRIES, MANIFEST

ODD = (
  *(
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**40,
    1e308,
    0.5,
    "",
    "x" * 20_000,
    "a\0b",
    "../../etc/passwd",
    "/etc/passwd",
  ),
  *("..", "{}", [], {}, [[]], [None], {"": {}}, [10**12, 10**12], "F64", "BF16", "segment-00000002", "word_pieces"),
)


def damaged(rng: random.Random, content: bytes) -> tuple[str, bytes]:
  """Bytes changed, cut off, put in, blanked or doubled."""
  start = rng.randrange(len(content) + 1)
  end = min(len(content), start + rng.choice([1, 4, 64, 4096]))
  some = rng.randbytes(end - start)
  changes = {
    "changed": content[:start] + some + content[end:],
    "cut": content[:start],
    "put in": content[:start] + some + content[start:],
    "blanked": content[:start] + bytes(end - start) + content[end:],
    "taken out": content[:start] + content[end:],
    "nested deep": b'[{"a":' * 50_000,
  }
  what = rng.choice(sorted(changes))
  return f"bytes {what}", changes[what]


def changed_json(rng: random.Random, value: Any) -> Any:
  """A copy in which one value somewhere is an odd one, gone, or there under another name."""
  value = copy.deepcopy(value)
  place, key = rng.choice(list(_places(value)))
  if rng.random() < 0.15 and isinstance(place, dict):
    place[str(rng.choice(ODD))] = place.pop(key)
  elif rng.random() < 0.15:
    del place[key]
  else:
    place[key] = copy.deepcopy(rng.choice(ODD))
  return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
  keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
  for key in keys:
    yield value, key
    yield from _places(value[key])


def with_right_checksums(folder: pathlib.Path, info: Any) -> None:
  """Writes a bundle's description, and what says that it is the one that was written."""
  content = json.dumps(info).encode()
  (folder / layout.INFO).write_bytes(content)
  (folder / layout.CHECKSUM).write_text(layout.checksum_line(content))


# Parts of a tokenizer.json that ask for more than a text needs.
HOSTILE_PARTS: dict[str, Sequence[Any]] = {
  "padding": [
    {"strategy": {"Fixed": length}, "direction": "Right", "pad_to_multiple_of": multiple}
    | {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    for length, multiple in ((8589934592, None), (10**9, None), (8, 2**40))
  ],
  "truncation": [
    {"direction": "Right", "max_length": length, "strategy": "LongestFirst", "stride": stride}
    for length, stride in ((8, 8), (8, 2**40), (10**12, 0), (0, 0), (1, 0))
  ],
  "pre_tokenizer": [
    {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    for regex in ("(a+)+$", "(a|a)*$", "(?:(a*)b?)+", "(" * 5000, "a{1,100000}")
  ],
  "normalizer": [
    {"type": "Replace", "pattern": {"Regex": "((?:a|b)*c*)*"}, "content": ""},
    {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40},
  ],
}

TOKENIZER = {
  "version": "1.0",
  "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "dark": 1, "old": 2}, "unk_token": "[UNK]"},
}


def tokenizer_case(rng: random.Random, folder: pathlib.Path) -> str:
  """Writes a tokenizer.json with one hostile part into a folder; returns which."""
  part = rng.choice(sorted(HOSTILE_PARTS))
  fields = TOKENIZER | {"pre_tokenizer": {"type": "Whitespace"}, part: rng.choice(HOSTILE_PARTS[part])}
  folder.mkdir(parents=True)
  (folder / layout.TEXT_FILES[layout.WORD_PIECES]).write_text(json.dumps(fields))
  return f"tokenizer.json: {part}"


def bundle_case(rng: random.Random, original: pathlib.Path, folder: pathlib.Path) -> str:
  """A copy of a bundle with one thing wrong, and with checksums that are right in most; returns what."""
  shutil.copytree(original, folder)
  info = json.loads((folder / layout.INFO).read_text())
  names = sorted(info["files"])
  name = rng.choice([layout.INFO, *names, layout.WEIGHTS])
  if name == layout.INFO:
    with_right_checksums(folder, changed_json(rng, info))
    return "bundle.json: a value"
  file, chance = folder / name, rng.random()
  if chance < 0.05:
    _link(file)
    return f"{name}: a link"
  if name == layout.WEIGHTS and chance < 0.5:
    what, content = "header", _with_header(file.read_bytes(), lambda header: changed_json(rng, header))
  elif file.suffix == ".json" and chance < 0.7:
    what, content = "a value", json.dumps(changed_json(rng, json.loads(file.read_bytes()))).encode()
  else:
    what, content = damaged(rng, file.read_bytes())
  file.write_bytes(content)
  if chance > 0.95:
    return f"{name}: {what}, old checksums"
  info["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
  with_right_checksums(folder, info)
  return f"{name}: {what}"


def _link(file: pathlib.Path) -> None:
  file.unlink()
  file.symlink_to("/etc/hostname")


def _with_header(content: bytes, change: Callable[[Any], Any]) -> bytes:
  length = int.from_bytes(content[:8], "little")
  header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
  return len(header).to_bytes(8, "little") + header + content[8 + length :]


def index_case(rng: random.Random, original: pathlib.Path, folder: pathlib.Path) -> str:
  """A copy of an index with one thing wrong, and with sizes that are right in most; returns what."""
  shutil.copytree(original, folder)
  manifest = json.loads((folder / MANIFEST).read_text())
  segment = rng.choice(manifest["segments"])
  name = rng.choice([MANIFEST, *sorted(segment["sizes"]), ENTRIES])
  if name == MANIFEST:
    (folder / MANIFEST).write_text(json.dumps(changed_json(rng, manifest)))
    return "index.json: a value"
  file, chance = folder / segment["name"] / name, rng.random()
  if chance < 0.05:
    _link(file)
    return f"{name}: a link"
  if name == ENTRIES and chance < 0.7:
    lines = file.read_text().splitlines()
    number = rng.randrange(len(lines))
    lines[number] = json.dumps(changed_json(rng, json.loads(lines[number])))
    what, content = "a value", "\n".join([*lines, ""]).encode()
  else:
    what, content = damaged(rng, file.read_bytes())
  file.write_bytes(content)
  if chance < 0.95:
    segment["sizes"][name] = len(content)
    (folder / MANIFEST).write_text(json.dumps(manifest))
  return f"{name}: {what}"


CASES = {
  "bundle": bundle_case,
  "index": index_case,
  "tokenizer": lambda rng, _, folder: tokenizer_case(rng, folder),
}
