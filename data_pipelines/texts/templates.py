"""Templates by which queries become texts: presets as published with zero-shot models, or any other."""

from collections.abc import Mapping, Sequence
import dataclasses
import string

from data_pipelines.input_error import InputError

CAPTION = "caption"  # the field that the queries of every data set have
AS_TYPED = f"{{{CAPTION}}}"


@dataclasses.dataclass(frozen=True)
class TextTemplate:
  """A query's texts, whose composed features are averaged; `{name}` is replaced by that field of the query, unchanged.

  The characters of `strips` are taken from both ends of each field first. A model is trained with the first text.
  `typed` is the text of what a user types, where `texts` have fields that nobody types.
  """

  texts: tuple[str, ...]
  strips: str = ""
  typed: str = ""

  @property
  def fields(self) -> set[str]:
    """The names of the fields that the texts have."""
    parsed = (part for text in self.texts for part in string.Formatter().parse(text))
    return {name for _, name, _, _ in parsed if name is not None}

  def fill(self, fields: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The texts of one query; raises InputError, beginning with `where`, for a field that it lacks."""
    lacking = sorted(self.fields - fields.keys())
    if lacking:
      raise InputError(f"{where}: config.text_template has {', '.join(lacking)}, expected {', '.join(fields)}")
    stripped = {name: value.strip(self.strips) if self.strips else value for name, value in fields.items()}
    return tuple(text.format_map(stripped) for text in self.texts)

  def typed_texts(self) -> tuple[str, ...]:
    """The templates of what a user types, which have the field CAPTION alone; () where typed texts do not change.

    Raises InputError where there is none.
    """
    texts = self.texts if self.fields <= {CAPTION} else (self.typed,)
    if not all(texts):
      lacking = ", ".join(sorted(self.fields - {CAPTION}))
      raise InputError(
        f"config.text_template has {lacking}, which no user types: expected a text with {{{CAPTION}}} alone, which "
        "--config.text_template gives"
      )
    return () if texts == (AS_TYPED,) else texts

  def __str__(self) -> str:
    return " | ".join(self.texts)


_DOLLAR = "a photo of $ that {caption}"


# LinCIR's and SEARLE's texts of FashionIQ, in both orders of its captions.
_BOTH_ORDERS = TextTemplate(
  ("a photo of $ that {caption_0} and {caption_1}", "a photo of $ that {caption_1} and {caption_0}"),
  strips=".?, ",
  typed=_DOLLAR,
)


_STAR = "a photo of * , {caption}"


# By name, then by data set: what the published programs have. For the others they have no text.
PRESETS: dict[str, dict[str, TextTemplate]] = {
  "magic_lens": {
    "circo": TextTemplate(("find {shared_concept} but {caption}",), typed=AS_TYPED),
    "fashion_iq": TextTemplate(("{caption_0} and {caption_1}",), typed=AS_TYPED),
    "imagenet_domains": TextTemplate(("find this object in {domain}",), typed=AS_TYPED),
  },
  "lincir": {
    "circo": TextTemplate((_DOLLAR,)),
    "cirr": TextTemplate((_DOLLAR,)),
    "fashion_iq": _BOTH_ORDERS,
    "genecis": TextTemplate(("a photo of $ that {condition}",), typed=_DOLLAR),
  },
  "searle": {"circo": TextTemplate((_DOLLAR,)), "cirr": TextTemplate((_DOLLAR,)), "fashion_iq": _BOTH_ORDERS},
  "pic2word": {
    "cirr": TextTemplate((_STAR,)),
    "fashion_iq": TextTemplate(("a photo of * , {caption_1} and {caption_0}",), typed=_STAR),
    "imagenet_domains": TextTemplate(("a {domain} of *",), typed=_STAR),
    "coco_objects": TextTemplate(("a photo of * and {query_class} and {other_classes}",), typed=_STAR),
  },
  "bge_vl": {
    "circo": TextTemplate(("Find a picture that also {shared_concept}, but {caption}.",), typed=AS_TYPED),
    "fashion_iq": TextTemplate(("{caption_0}, and {caption_1}",), typed=AS_TYPED),
  },
}


def text_template(texts: Sequence[str], dataset: str) -> TextTemplate | None:
  """The templates of `config.text_template` and all `config.text_variants` for a data set; None if the first is empty.

  Raises InputError for a preset that has no text for the data set.
  """
  template = texts[0] if texts else ""
  if template in PRESETS:
    own = PRESETS[template]
    if dataset not in own:
      raise InputError(
        f"config.text_template is {template!r}: no text for {dataset} is published, only for {', '.join(own)}; "
        "expected a text with fields in braces, as 'a photo that {caption}'"
      )
    return own[dataset]
  return TextTemplate(tuple(texts)) if template else None


def mistake_of_template(value: str) -> str:
  """The fault of a template's text; "" for a right one."""
  if value in PRESETS or not value:
    return ""
  try:
    parsed = list(string.Formatter().parse(value))
  except ValueError:
    parsed = []
  names = [name for _, name, _, _ in parsed if name is not None]
  plain = all(
    name.isidentifier() and not spec and not conversion for _, name, spec, conversion in parsed if name is not None
  )
  if names and plain:
    return ""
  return f"one of {', '.join(PRESETS)}, or a text with fields in braces, as 'a photo that {{caption}}'"
