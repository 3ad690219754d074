"""Groups of siblings: the targets of a group differ, and share what the text does not change."""

import numpy as np
import pytest

from data_pipelines.input_error import InputError
from data_pipelines.samplers import AdjectiveSampler, CaptionSampler, ListedSampler, SiblingSampler
from data_pipelines.samplers.siblings import GROUP
from data_pipelines.tables import QueryTable

STATES = ("dark", "light", "medium", "pale", "deep")
LABELS = [f"{state} {noun}" for noun in ("cat", "dog") for state in STATES for _ in range(2)]
CAPTIONS = [f"{name} {style}" for name in ("bell", "bell ring", "fox") for style in ("thin", "bold", "fill")]


def groups(sampler, num, seed=0):
  triplets = sampler.siblings(np.random.default_rng(seed), num)
  assert len(triplets) == num
  return [triplets[i : i + GROUP] for i in range(0, num, GROUP)]


@pytest.mark.parametrize("complete_text", [False, True])
def test_a_group_shows_one_noun_in_different_states(complete_text):
  sampler = AdjectiveSampler(LABELS, complete_text=complete_text)
  assert isinstance(sampler, SiblingSampler)
  for group in groups(sampler, 40):
    labels = [LABELS[triplet.target] for triplet in group]
    assert len(set(labels)) == GROUP
    assert len({label.split()[1] for label in [*labels, *(LABELS[triplet.reference] for triplet in group)]}) == 1
    for triplet, label in zip(group, labels, strict=True):
      assert LABELS[triplet.reference] != label
      assert triplet.text == (label if complete_text else label.split()[0])


def test_a_group_has_one_parent():
  captions = [f"{name} {style}" for name in ("bell ring", "fox") for style in ("thin", "bold", "fill", "light")]
  for group in groups(CaptionSampler(captions, complete_text=False), 40):
    targets = [captions[triplet.target] for triplet in group]
    assert len(set(targets)) == GROUP
    assert len({caption.rpartition(" ")[0] for caption in targets}) == 1
    for triplet, target in zip(group, targets, strict=True):
      reference = captions[triplet.reference]
      assert reference != target and reference.rpartition(" ")[0] == target.rpartition(" ")[0]
      assert triplet.text == f"replace {reference.split()[-1]} with {target.split()[-1]}"


def test_small_families_make_small_groups_until_all_rows_are_there():
  sampler = CaptionSampler(["bell thin", "bell bold", "fox ring thin", "fox ring bold"], complete_text=True)
  triplets = sampler.siblings(np.random.default_rng(0), 7)
  assert len(triplets) == 7
  assert all({triplets[i].target, triplets[i + 1].target} in ({0, 1}, {2, 3}) for i in (0, 2, 4))


def listed(references, labels):
  texts = [f"to {label}" for label in labels]
  return ListedSampler(QueryTable(np.array(references), texts, labels, [""] * len(labels)), ["a", "b", "c", "d"])


def test_listed_queries_are_siblings_where_they_have_one_reference():
  sampler = listed([0, 0, 1, 2, 2, 2], ["b", "c", "d", "a", "b", "b"])
  for seed in range(20):
    first, second = sampler.siblings(np.random.default_rng(seed), 2)
    assert first.reference == second.reference in (0, 2)
    assert first.target != second.target
    assert first.text == f"to {'abcd'[first.target]}"


def test_listed_queries_without_a_common_reference_have_no_siblings():
  with pytest.raises(InputError, match="no reference has queries for two targets"):
    listed([0, 1, 2, 2], ["b", "c", "d", "d"]).siblings(np.random.default_rng(0), 2)
