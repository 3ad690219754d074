"""BERTs as the Hugging Face hub has them: config.json, weights and a tokenizer."""

import dataclasses
import pathlib

from flax import nnx

from composeret_jax.models.encoders.bert import Bert, BertConfig
from composeret_jax.models.encoders.transformer import ACTIVATIONS, Compute, DEFAULT_COMPUTE
from composeret_jax.pretrained.files import read_tensors, weight_files
from composeret_jax.pretrained.hub.config import CONFIG, read_config
from composeret_jax.pretrained.slots import fill, layer_norm_slots, linear_slots, prefixed, same, Slots
from data_pipelines.input_error import InputError

# Names that some files give all of a BERT's tensors, and to the scale and offset of a normalisation.
PREFIX = "bert."
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


# What features are not made of: the heads of pre-training, and a buffer of counting numbers.
IGNORED = ("cls.", "pooler.", "embeddings.position_ids")
MODEL_TYPE = "bert"


def read_bert_config(folder: pathlib.Path) -> BertConfig:
  """The sizes in a folder's config.json; raises InputError for a model that is no BERT or that we cannot compute."""
  fields = read_config(folder / CONFIG, {MODEL_TYPE: Bert})
  for name, choices in {"hidden_act": tuple(ACTIVATIONS), "position_embedding_type": ("absolute",)}.items():
    value = fields.get(name, choices[0])
    if value not in choices:
      raise InputError(f"{folder / CONFIG} has {name} {value!r}, expected {' or '.join(choices)}")
  return BertConfig(**{field.name: fields[field.name] for field in dataclasses.fields(BertConfig)})


def load_bert(folder: pathlib.Path, pooling: str, compute: Compute = DEFAULT_COMPUTE) -> Bert:
  """The BERT in a folder; raises InputError when a file is missing, broken or does not fit the others."""
  bert_config, (file, *_) = read_bert_config(folder), weight_files(folder)
  bert = Bert(bert_config, pooling, compute, rngs=nnx.Rngs(0))
  unread = tuple(f"encoder.layer.{i}." for i in range(len(bert.layers), bert_config.num_hidden_layers))
  tensors = {}
  for original_name, tensor in read_tensors(folder).items():
    name = original_name.removeprefix(PREFIX)
    for old, new in OLD_NAMES.items():
      name = name.replace(old, new)
    if not name.startswith(IGNORED + unread):
      tensors[name] = tensor
  fill(tensors, bert_slots(bert), f"{file} and its {CONFIG} disagree: the weights")
  return bert


def bert_slots(bert: Bert) -> Slots:
  """transformers' names for a BertModel's tensors."""
  slots = {
    "embeddings.word_embeddings.weight": same(bert.embeddings.words),
    "embeddings.position_embeddings.weight": same(bert.embeddings.positions),
    "embeddings.token_type_embeddings.weight": same(bert.embeddings.types),
    **prefixed("embeddings.LayerNorm.", layer_norm_slots(bert.embeddings.norm)),
  }
  for i, layer in enumerate(bert.layers):
    layer_slots = {
      **prefixed("attention.self.query.", linear_slots(layer.attention.query)),
      **prefixed("attention.self.key.", linear_slots(layer.attention.key)),
      **prefixed("attention.self.value.", linear_slots(layer.attention.value)),
      **prefixed("attention.output.dense.", linear_slots(layer.attention.out)),
      **prefixed("attention.output.LayerNorm.", layer_norm_slots(layer.attention_norm)),
      **prefixed("intermediate.dense.", linear_slots(layer.widen)),
      **prefixed("output.dense.", linear_slots(layer.narrow)),
      **prefixed("output.LayerNorm.", layer_norm_slots(layer.norm)),
    }
    slots |= prefixed(f"encoder.layer.{i}.", layer_slots)
  return slots
