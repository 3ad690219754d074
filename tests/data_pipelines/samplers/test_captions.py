from collections import Counter
import itertools
import time

import numpy as np
import pytest

from data_pipelines.input_error import InputError
from data_pipelines.samplers import CaptionSampler
from data_pipelines.tables import TripletSampler
from data_pipelines.texts.labels import families, replacement_text

CAPTIONS = ["red lace dress", "blue lace dress", "red lace dress", "red silk dress", "plain coat"]


def draws(sampler, item, count=3000):
  rng = np.random.default_rng(0)
  return [sampler.sample(item, lambda: rng)[0] for _ in range(count)]


def test_a_parent_lacks_one_word_of_its_children():
  assert families(CAPTIONS[:2] + CAPTIONS[3:]) == {
    "lace dress": ["red lace dress", "blue lace dress"],
    "red dress": ["red lace dress", "red silk dress"],
  }


def test_words_are_deleted_inside_longer_words_too():
  assert families(["red tired dress", "ti dress blue"]) == {"ti dress": ["red tired dress", "ti dress blue"]}


def test_images_without_siblings_are_never_references():
  sampler = CaptionSampler(CAPTIONS, complete_text=False)
  assert isinstance(sampler, TripletSampler)
  assert sampler.num_items == 4
  assert {sampler.sample(item, lambda: np.random.default_rng(0))[0].reference for item in range(4)} == {0, 1, 2, 3}


def test_targets_are_the_images_of_siblings():
  sampler = CaptionSampler(CAPTIONS, complete_text=False)
  assert {(triplet.target, triplet.text) for triplet in draws(sampler, 0)} == {
    (1, "replace red with blue"),
    (3, "replace lace with silk"),
  }
  of_silk = Counter(triplet.target for triplet in draws(sampler, 3))
  assert of_silk.keys() == {0, 2}
  assert of_silk[0] / 3000 == pytest.approx(0.5, abs=0.04)


def test_parents_are_drawn_by_their_share_of_other_children():
  captions = ["a x", "a y", "b x", "c x"]  # parents of "a x": "a" with one other child of two, "x" with two of three
  counts = Counter(triplet.target for triplet in draws(CaptionSampler(captions, complete_text=False), 0))
  expected = {1: 3 / 7, 2: 2 / 7, 3: 2 / 7}  # 1/2 to 2/3, the latter halved
  for target, share in expected.items():
    assert counts[target] / 3000 == pytest.approx(share, abs=0.04)


def test_the_complete_text_is_the_targets_caption():
  sampler = CaptionSampler(CAPTIONS, complete_text=True)
  assert all(triplet.text == CAPTIONS[triplet.target] for triplet in draws(sampler, 0, 50))


@pytest.mark.parametrize("complete_text", [True, False])
def test_texts_hold_every_text_that_is_drawn(complete_text):
  sampler = CaptionSampler(CAPTIONS, complete_text=complete_text)
  drawn = {triplet.text for item in range(sampler.num_items) for triplet in draws(sampler, item, 50)}
  assert drawn <= set(sampler.texts())


def test_the_same_random_numbers_give_the_same_triplet():
  sampler = CaptionSampler(CAPTIONS, complete_text=False)
  assert draws(sampler, 1, 20) == draws(sampler, 1, 20)


def test_captions_without_siblings_are_refused():
  with pytest.raises(InputError, match="2 training images, and no two of their 2 captions differ in one word"):
    CaptionSampler(["red dress", "plain coat"], complete_text=False)


# Words that stand twice, in another order, and inside other words: a text then names others than those deleted.
ODD = ["red hat", "hat red", "blue hat", "red redwood box", "redwood red box", "wood blue box", "red red hat", "hat"]


@pytest.mark.parametrize("captions", [CAPTIONS, ODD, [f"{a} {b} {c}" for a in "xyz" for b in "xuv" for c in "xu"]])
def test_texts_are_all_that_may_be_drawn_in_the_order_of_the_families(captions):
  expected = dict.fromkeys(captions)
  for children in families(dict.fromkeys(captions)).values():
    expected |= dict.fromkeys(itertools.starmap(replacement_text, itertools.permutations(children, 2)))
  assert CaptionSampler(captions, complete_text=False).texts() == list(expected)


def test_a_pair_of_words_costs_little_however_many_captions_have_it():
  captions = [f"colour{i} product{j}" for i in range(20) for j in range(400)]
  sampler = CaptionSampler(captions, complete_text=False)
  start = time.process_time()
  texts = sampler.texts()
  assert time.process_time() - start < 1.5  # each pair of captions for itself takes 5 seconds
  assert len(texts) == len(captions) + 20 * 19 + 400 * 399
