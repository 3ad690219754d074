"""Opening a bundle: whatever is wrong with its files is refused by name."""

import json
import shutil

import jax
from jax import export as jax_export
import numpy as np
import pytest

from composeret_jax.serving.bundle import layout, load
from data_pipelines.input_error import InputError
from tests.fakes.exported import names
from tests.fakes.fake_bundle import fake_bundle


@pytest.fixture
def folder(original, tmp_path):
  """A copy of the ComposeAE's bundle."""
  return shutil.copytree(original[0], tmp_path / "bundle")


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_changed_byte_in_any_file_is_refused_by_name(original, folder, place):
  for name in names(original[0]):
    content = bytearray((original[0] / name).read_bytes())
    content[int(place * (len(content) - 1)) if place >= 0 else -1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
      load(folder)
    shutil.copy(original[0] / name, folder / name)
  load(folder)


def test_a_missing_a_short_and_a_linked_file_are_refused_by_name(original, folder):
  for name in names(original[0]):
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"it has no {name}"):
      load(folder)
    (folder / name).symlink_to(original[0] / name)
    with pytest.raises(InputError, match=f"{name} is a link"):
      load(folder)
    (folder / name).unlink()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(InputError, match=name):
      load(folder)
    (folder / name).write_bytes(content)


def rewrite(folder, change):
  """Changes the description, with a checksum that is right again."""
  info = json.loads((folder / "bundle.json").read_text())
  change(info)
  content = json.dumps(info).encode()
  (folder / "bundle.json").write_bytes(content)
  (folder / "bundle.sha256").write_text(layout.checksum_line(content))


def with_file(name):
  return lambda info: info["files"].update({name: {"size": 1, "sha256": "0"}})


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda info: info.update(format_version=4), "format version 4, this program reads 2 and 3"),
    (lambda info: info.update(text_templates=["a photo"]), "of another type: text_templates"),
    (lambda info: info.update(text_templates=["{caption.__class__}"]), "of another type: text_templates"),
    (lambda info: info.update(text_templates=["{caption} {thing}"]), "of another type: text_templates"),
    (lambda info: info.update(text_templates=[]), "of another type: text_templates"),
    (lambda info: info.update(decoder_version=99), "pixels of decoder 99"),
    (lambda info: info.update(step="2"), "of another type: step"),
    (lambda info: info.pop("arrays"), "of another type: arrays"),
    (lambda info: info["files"].pop("weights.safetensors"), "lists no weights.safetensors"),
    (lambda info: info["programs"].append("../../etc/x"), "of another type: programs"),
    (lambda info: info["programs"].remove("encode_gallery"), "of another type: programs"),
    (lambda info: info.update(image_size=10**9), "of another type: image_size"),
    (lambda info: info.update(image_size=True), "of another type: image_size"),
    (lambda info: info.update(image_size=32), "encode_gallery.stablehlo takes or gives other arrays"),
    (lambda info: info.update(feature_dim=10**8), "encode_gallery.stablehlo takes or gives other arrays"),
    (lambda info: info.update(mean_norm=-1.0), "of another type: mean_norm"),
    (lambda info: info["text"].update(max_length=10**9), "of another type: text"),
    (lambda info: info["text"].pop("max_length"), "of another type: text"),
    (lambda info: info["text"].update(kind=["words"]), "of another type: text"),
    (lambda info: info.update(example_texts=[1]), "of another type: example_texts"),
    (lambda info: info["files"].update(x=3), "of another type: files"),
    (lambda info: info["files"]["weights.safetensors"].update(size="1"), "of another type: files"),
    (lambda info: info["arrays"]["mean_reference"].update(shape=-1), "of another type: arrays"),
    (lambda info: info["text"].update(kind="pickle"), "texts of kind 'pickle'"),
    (lambda info: info["arrays"]["mean_reference"].update(shape=[10**12]), "takes or gives other arrays"),
    (lambda info: info["arrays"]["mean_reference"].update(dtype="F64"), "of another type: arrays"),
    (with_file("../run/config.json"), r"names '\.\./run/config\.json', which is no file of the folder"),
    (with_file("/etc/passwd"), "names '/etc/passwd', which is no file of the folder"),
    (with_file(".."), r"names '\.\.', which is no file of the folder"),
  ],
)
def test_a_description_that_does_not_fit_is_refused(folder, change, message):
  rewrite(folder, change)
  with pytest.raises(InputError, match=message):
    load(folder)


def replace_file(folder, name, content):
  """Puts another file into a bundle, with checksums that are right again."""
  (folder / name).write_bytes(content)
  rewrite(folder, lambda info: info["files"].update({name: layout.describe_file(folder / name)}))


def with_header(content, change):
  """A safetensors file whose header says something else."""
  length = int.from_bytes(content[:8], "little")
  header = json.loads(content[8 : 8 + length])
  change(header)
  changed = json.dumps(header).encode()
  return len(changed).to_bytes(8, "little") + changed + content[8 + length :]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda header: header["mean_reference"].update(shape=[10**12]), "cannot be read as safetensors"),
    (lambda header: header["mean_reference"].update(data_offsets=[0, 10**15]), "cannot be read as safetensors"),
    (lambda header: header.update(more=header.pop("mean_reference")), "holds other arrays .*: mean_reference, more"),
    (lambda header: header["mean_reference"].update(dtype="I32"), "holds other arrays .*: mean_reference"),
    (lambda header: header["mean_reference"].update(dtype="x" * 20_000), "cannot be read as safetensors"),
    (lambda header: header.update({"x" * 20_000: header.pop("mean_reference")}), "holds other arrays"),
  ],
)
def test_weights_that_claim_something_else_are_refused_with_right_checksums(folder, change, message):
  content = (folder / "weights.safetensors").read_bytes()
  replace_file(folder, "weights.safetensors", with_header(content, change))
  with pytest.raises(InputError, match=message) as caught:
    load(folder)
  assert len(str(caught.value)) < 1_000


def test_weights_that_are_not_finite_are_refused_with_right_checksums(folder):
  content = (folder / "weights.safetensors").read_bytes()
  replace_file(folder, "weights.safetensors", content[:-4] + np.float32(np.nan).tobytes())
  with pytest.raises(InputError, match="numbers in .* that are not finite"):
    load(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[" * 200_000, b"program"])
def test_what_is_no_program_is_refused_with_right_checksums(folder, content):
  replace_file(folder, "compose_texts.stablehlo", content)
  with pytest.raises(InputError, match=r"compose_texts\.stablehlo, exported by jax .*, cannot be read"):
    load(folder)


def test_a_program_that_calls_out_is_refused_with_right_checksums(folder):
  """As one of LAPACK's does; one that calls Python cannot be exported by JAX, but be made by hand."""
  exported = jax_export.export(jax.jit(jax.numpy.linalg.cholesky), platforms=["cpu"])(
    jax.ShapeDtypeStruct((2, 2), np.float32)
  )
  replace_file(folder, "compose_texts.stablehlo", bytes(exported.serialize()))
  with pytest.raises(InputError, match=r"calls lapack_\w+.*, expected a program that only computes"):
    load(folder)


def test_words_that_are_no_words_are_refused_with_right_checksums(folder):
  for content in (b"{}", b"[1]", b"[" * 200_000, b"\xff"):
    replace_file(folder, "vocabulary.json", content)
    with pytest.raises(InputError, match=r"vocabulary\.json"):
      load(folder)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"1" * 10_000, b"{}", b"nul", b"\xff"])
def test_a_description_that_is_none_is_refused(folder, content):
  (folder / "bundle.json").write_bytes(content)
  (folder / "bundle.sha256").write_text(layout.checksum_line(content))
  with pytest.raises(InputError, match=r"bundle\.json is no"):
    load(folder)


def test_what_is_no_bundle_is_refused(tmp_path):
  with pytest.raises(InputError, match="has no bundle.json"):
    load(tmp_path / "nothing")
  (tmp_path / "bundle.json").write_text("[]")
  with pytest.raises(InputError, match=r"bundle\.json is no description of a bundle"):
    load(tmp_path)


def test_its_repr_says_what_the_model_is(original):
  bundle = original[1]
  recall = bundle.info["metrics"]["R@1"]
  expected = f"<Bundle compose_ae trained on mit_states, step 2: R@1 {recall:.3f}, "
  assert repr(bundle).startswith(expected)
  assert "images of 16 pixels, features [16]" in repr(bundle) and bundle.fingerprint[:8] in repr(bundle)


def test_a_slow_first_call_is_explained_once_for_each_shape(monkeypatch, caplog):
  monkeypatch.setattr("composeret_jax.serving.bundle.bundle.SLOW_SECONDS", 0.0)
  bundle = fake_bundle()
  for texts in (["red"], ["blue"], ["red"] * 2):
    bundle.text_only(texts)
  sizes = [record.getMessage().partition(" took")[0] for record in caplog.records]
  assert sizes == ["The first compose_texts of 1 rows", "The first compose_texts of 8 rows"]
  monkeypatch.setattr("composeret_jax.serving.bundle.bundle.SLOW_SECONDS", 60.0)
  fake_bundle().text_only(["red"])
  assert len(caplog.records) == 2
