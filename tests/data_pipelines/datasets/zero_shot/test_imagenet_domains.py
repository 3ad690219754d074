import pytest

from configs import imagenet_domains
from data_pipelines.dataset import open_dataset
from data_pipelines.input_error import InputError
from tests.fakes import tiny_zero_shot


def opened(folder, prepared, templates=(), **fields):
  config = imagenet_domains.get_config().data
  config.update(dir=str(folder), prepared_dir=str(prepared), **fields)
  return open_dataset(config, "modification", templates=templates)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  return tiny_zero_shot.make_imagenet_domains(tmp_path_factory.mktemp("domains"))


def test_every_photograph_is_asked_for_in_every_domain(raw, tmp_path):
  dataset = opened(raw, tmp_path)
  photographs = ["6002", "reference 2", "reference 5"]  # the first is ranked by all queries, its own among them
  assert dataset.gallery.labels == ["2002", "2", "2", "1002", "3002", "1005", *photographs]
  assert dataset.gallery.groups == [domain for domain, _ in tiny_zero_shot.DOMAIN_TARGETS] + ["", *["reference"] * 2]
  queries = dataset.queries
  assert queries.references.tolist() == [6, 7, 8] * 4
  assert queries.target_labels[:6] == ["2", "2", "5", "1002", "1002", "1005"]  # no image has the label 5
  assert queries.groups == [domain for domain in tiny_zero_shot.DOMAINS for _ in range(3)]


@pytest.mark.parametrize(
  ("preset", "text"), [("magic_lens", "find this object in origami"), ("pic2word", "a origami of *"), ("", "origami")]
)
def test_texts_name_the_domain(raw, tmp_path, preset, text):
  assert opened(raw, tmp_path, [preset]).queries.texts[3] == text


def test_the_lists_folder_itself_will_do_and_domains_can_be_chosen(raw, tmp_path):
  dataset = opened(raw / "imgnet", tmp_path, categories=("toy",))
  assert dataset.queries.target_labels == ["2002", "2002", "2005"]
  assert len(dataset.gallery) == 9  # targets of all domains


LINES = {
  "a line without a number": ("imgnet/imagenet-r/a.jpg", "imgnet_targets.txt:1: expected a path and a number"),
  "a path that leads away": ("../a.jpg 3", "expected a path below the data set's folder"),
  "a missing image": ("imgnet/imagenet-r/a.jpg 3", "1 images that the lists name are missing: .*a.jpg"),
}


def test_a_photographs_number_is_a_class(tmp_path):
  folder = tiny_zero_shot.make_imagenet_domains(tmp_path / "raw")
  file = folder / "imgnet" / "imgnet_real_query.txt"
  file.write_text(file.read_text().replace("jpg 5", "jpg 1005"))
  with pytest.raises(InputError, match="00000002.jpg has class 1005, expected less than 1000"):
    opened(folder, tmp_path)


@pytest.mark.parametrize("line", LINES)
def test_a_broken_list_is_named(tmp_path, line):
  folder = tiny_zero_shot.make_imagenet_domains(tmp_path / "raw")
  content, message = LINES[line]
  (folder / "imgnet" / "imgnet_targets.txt").write_text(f"{content}\n")
  with pytest.raises(InputError, match=message):
    opened(folder, tmp_path)
