"""The model that a bundle serves: it reads pixels and token ids, where training may have read stored features."""

from collections.abc import Mapping

import ml_collections

from composeret_jax.models.composers import COMPOSERS
from composeret_jax.models.retrieval_model import RetrievalModel
from composeret_jax.models.variables import Variables, variables_of
from composeret_jax.pretrained.image_encoder import load_pretrained
from composeret_jax.pretrained.text_encoder import open_texts, Texts
from composeret_jax.training.model import build_model, placeholder_of
from composeret_jax.training.run import Data


def serving_texts(data: Data) -> Texts:
  """As the run's own, but where the features of a frozen BERT or tower were looked up in a table, itself."""
  config = data.config.model.text_encoder.copy_and_resolve_references()
  config.fine_tune = True
  return open_texts(
    config,
    data.dataset.train_triplets.texts(),
    data.dataset.queries.texts,
    data.config.eval.batch_size,
    words=data.texts.made_with.get("words"),
    placeholder=placeholder_of(data.config.model),
  )


def typed_templates(data: Data) -> tuple[str, ...]:
  """The templates for a bundle's typed texts: the evaluation's, or the prompt of a composer that needs one."""
  if data.dataset.template:
    return data.dataset.template.typed_texts()
  prompt = COMPOSERS[data.config.model.composer].prompt
  return (prompt,) if prompt else ()


def serving_model(
  config: ml_collections.ConfigDict, texts: Texts, trained: Variables
) -> tuple[RetrievalModel, Variables]:
  """The model that reads pixels and token ids, and its variables, among them those that were trained."""
  whole_encoder = config.model.copy_and_resolve_references()
  whole_encoder.image_encoder.frozen = False
  model = build_model(
    whole_encoder,
    texts.build_encoder,
    config.seed,
    config.data.image_size,
    empty_text=texts.empty_text(),
    placeholder_id=texts.placeholder_id,
  )
  if config.model.image_encoder.frozen:
    load_pretrained(config.model.image_encoder, model.image_encoder.trunk)
  whole = variables_of(model)
  params = overlaid(whole.params, trained.params)
  return model, Variables(params, overlaid(whole.batch_stats, trained.batch_stats), whole.frozen)


def overlaid(whole: Mapping, part: Mapping) -> dict:
  """`whole` with the leaves of `part` in place of its own."""
  return {
    name: value if name not in part else overlaid(value, part[name]) if isinstance(value, Mapping) else part[name]
    for name, value in whole.items()
  }
