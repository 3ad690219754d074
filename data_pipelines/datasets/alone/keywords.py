"""A caption's keywords, and the caption with a placeholder for them: what LinCIR (Gu et al., CVPR 2024) trains on."""

from collections.abc import Iterable, Iterator, Sequence
import itertools

from data_pipelines.input_error import InputError

PLACEHOLDER = "$"


# Universal part-of-speech tags; a run of words with these is a keyword.
KEYWORD_TAGS = ("NOUN", "PROPN", "ADJ", "DET")


Tagged = Sequence[tuple[str, str]]  # words and their tags


def cleaned(caption: str) -> str:
  """In lower case, without placeholders; `<PERSON>`, which stands for names in some captions, becomes a word."""
  return caption.lower().replace("<person>", "person").replace(PLACEHOLDER, "")


def keywords(words: Tagged) -> list[str]:
  """The runs of words with one of KEYWORD_TAGS, joined by blanks."""
  runs = itertools.groupby(words, key=lambda word: word[1] in KEYWORD_TAGS)
  return [" ".join(word for word, _ in run) for are_keywords, run in runs if are_keywords]


def masked(caption: str, words: Sequence[str], other: str) -> str:
  """The caption with PLACEHOLDER, apart from what is around it, wherever one of the keywords `words` is.

  At the first that is not in the caption, and where there are none, `other`, a piece of the caption, is replaced
  instead, and then nothing more. A caption without any placeholder becomes "a photo of $".
  """
  found = list(itertools.takewhile(lambda word: word in caption, words))
  replaced = caption
  for piece in found if found and len(found) == len(words) else [*found, other]:
    replaced = replaced.replace(piece, f" {PLACEHOLDER} ")
  return " ".join(replaced.split()) if PLACEHOLDER in replaced else f"a photo of {PLACEHOLDER}"


def tagged(captions: Iterable[str], tagger: str) -> Iterator[Tagged]:
  """Each caption's words, tagged by spaCy's pipeline `tagger`: the name of an installed one, or a folder.

  Raises InputError where spaCy or the pipeline is not installed, or gives no tags.
  """
  try:
    import spacy
  except ImportError as error:
    raise InputError(
      "config.data.tagger needs the package spacy: pip install 'composeret-jax[lincir]', or give the captions a column "
      "keywords"
    ) from error
  try:
    pipeline = spacy.load(tagger)
  except Exception as error:  # of a package that is not installed, of a folder that holds something else
    reason = str(error).partition("\n")[0][:200]
    raise InputError(
      f"config.data.tagger is {tagger!r}, expected a pipeline of spaCy: install one by `python -m spacy download "
      f"en_core_web_sm`, name the folder of another, or give the captions a column keywords ({reason})"
    ) from error
  for document in pipeline.pipe(captions, batch_size=1_000):
    words = [(token.text, token.pos_) for token in document]
    if words and not any(tag for _, tag in words):
      raise InputError(f"config.data.tagger is {tagger!r}, whose words have no universal part-of-speech tags")
    yield words
