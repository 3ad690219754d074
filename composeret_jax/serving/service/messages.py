"""Requests and answers, as the OpenAPI document describes them; a request that is none is answered by the reason."""

import math
from typing import Annotated, Any, Literal

import pydantic

from composeret_jax.serving.index import columns

MAX_TEXT = 500
MAX_TURNS = 8
MAX_WEIGHT = 100.0
MAX_FOUND = 1_000  # how far a list of results goes
MAX_ID = 4_096
NUM_SHOWN = 24

Text = Annotated[str, pydantic.StringConstraints(max_length=MAX_TEXT)]
Id = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=MAX_ID)]
Token = Annotated[str, pydantic.StringConstraints(pattern="^[0-9a-f]{32}$")]
Weight = Annotated[float, pydantic.Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]
Kind = Literal["words", "image", "composed"]
Scalar = bool | Number | Text


class Message(pydantic.BaseModel):
  """Fields that it does not know are a mistake, and a text is no number."""

  model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Range(Message):
  """Numbers from `min` to `max`, both included."""

  min: Number | None = None
  max: Number | None = None


Filters = Annotated[
  dict[Text, Range | Scalar | Annotated[list[Scalar], pydantic.Field(max_length=100)]], pydantic.Field(max_length=20)
]


FILTERS = pydantic.TypeAdapter(Filters)


def as_filters(filters: dict[str, Any]) -> columns.Filters:
  """Checked filters, as an index takes them."""
  parts: list[columns.OneOf | columns.Between] = []
  for name, value in filters.items():
    if isinstance(value, Range):
      low = -math.inf if value.min is None else value.min
      parts.append(columns.Between(name, low, math.inf if value.max is None else value.max))
    else:
      parts.append(columns.OneOf(name, tuple(columns.plain_values(value))))
  return tuple(parts)


class Start(Message):
  """A query: it starts from an image of the index, an upload, or neither; the texts follow, turn by turn."""

  image: Id | None = None
  upload: Token | None = None
  texts: Annotated[list[Text], pydantic.Field(max_length=MAX_TURNS)] = []

  @pydantic.model_validator(mode="after")
  def check(self):
    """Raises ValueError where there is nothing to search for, or too much."""
    if self.image is not None and self.upload is not None:
      raise ValueError("`image` and `upload` are both given, expected at most one of them")
    if any(not text.strip() for text in self.texts):
      raise ValueError("a text is blank: say what should be different, or leave it out")
    if self.image is None and self.upload is None and not self.texts:
      raise ValueError("there is nothing to search for: give `texts`, `image` or `upload`")
    return self


class Search(Start):
  """A search; its texts apply in turn to the image or upload, or without either are words to search for."""

  filters: Filters = {}
  limit: Annotated[int, pydantic.Field(ge=1, le=100)] = NUM_SHOWN
  offset: Annotated[int, pydantic.Field(ge=0, lt=MAX_FOUND)] = 0
  image_weight: Weight = 0.0
  text_weight: Weight = 0.0


class Feedback(Message):
  """A result that somebody rates: 1 and "chosen" for a right one, -1 for a wrong one."""

  query: Start
  result: Id
  rating: Literal[1, -1, "chosen"]


class Item(pydantic.BaseModel):
  """An image of the index. `thumbnail` is an address relative to the service's."""

  id: str
  caption: str
  metadata: dict[str, Any]
  thumbnail: str


class Found(Item):
  """An image that was found, with the inner product of its unit feature and the query's."""

  score: float


class Details(Item):
  """All that is known of an image. `url` is its metadata's column url."""

  url: str | None
  image: str


class Results(pydantic.BaseModel):
  """The images that were found, best first; `next_offset` is where the next ones begin, null at the end."""

  results: list[Found]
  next_offset: int | None
  unknown_words: list[str]
  message: str | None
  nearest_word: str | None
  kind: Kind


class Gallery(pydantic.BaseModel):
  """Images in a fixed order that is spread over the index."""

  results: list[Item]
  next_offset: int | None


class Suggestion(pydantic.BaseModel):
  """A text that fits a picture."""

  text: str


class Suggestions(pydantic.BaseModel):
  """Texts that fit a picture, the best first."""

  suggestions: list[Suggestion]


class Upload(pydantic.BaseModel):
  """A token that stands for a picture until ten minutes after its last use."""

  upload: str
  thumbnail: str


class Composed(pydantic.BaseModel):
  """A query's unit feature, and the length of the raw feature behind it."""

  feature: list[float]
  norm: float


class Column(pydantic.BaseModel):
  """A column of metadata that filters can name; `values` belong to a choice, `min` and `max` to numbers."""

  name: str
  kind: Literal["choice", "number", "text"]
  values: list[str] | None = None
  min: float | None = None
  max: float | None = None


class Columns(pydantic.BaseModel):
  """All columns that filters can name."""

  columns: list[Column]


class Page(pydantic.BaseModel):
  """The texts, logo and colour that a page shows around the search."""

  title: str
  logo: str | None
  accent: str | None
  images: int
  feedback: bool
  composes_turns: bool
  needs_key: bool


class Health(pydantic.BaseModel):
  """`generation` grows whenever the index was written."""

  status: Literal["ok"]
  images: int
  generation: int


class Problem(pydantic.BaseModel):
  """Why a request is not answered, and which of its fields is the reason, where one is."""

  error: str
  field: str | None = None
