"""The model card of a bundle on the Hugging Face hub, from what its bundle.json says of the run."""

from collections.abc import Iterator, Mapping
import pathlib
import re
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from composeret_jax.evaluation.evaluator import HALVES
from composeret_jax.evaluation.report import recall_table

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_name(text: str) -> bool:
  """Whether it is ORG/NAME, and no folder here: where weights came from may be either."""
  return bool(_HUB_NAME.fullmatch(text)) and not pathlib.Path(text).exists()


def model_card(repo: str, info: Mapping[str, Any], licence: str, *, has_towers: bool) -> str:
  """Markdown under YAML. `info` is bundle.json's content, `licence` an identifier of the hub, or "" for none stated."""
  config = info["config"]
  composer, dataset = config["model"]["composer"], config["data"]["dataset"]
  examples = info.get("example_texts") or ["make it red"]
  template = f", with texts in the template `{info['texts']}`" if "{" in info.get("texts", "") else ""
  parts = [
    f"---\n{_metadata(repo, info, licence).to_yaml()}\n---",
    f"# {repo.rpartition('/')[2]}",
    "A model for composed image retrieval: it takes a reference image and a sentence, and finds the image that the "
    f"sentence asks for. It is {composer}, trained with composeret_jax on {dataset}.",
    f"## Use\n\n```python\n{_example(repo, examples[0])}\n```",
    "Sentences like those that it was evaluated on: " + "; ".join(f"*{text}*" for text in examples) + ".",
    "## Training\n\n| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in _recipe(info)),
    f"## Recall\n\nIn percent, on the {info.get('split', 'test')} split of {dataset}{template}. *Image only* and "
    f"*text only* are the two halves of the query alone.\n\n```text\n{recall_table(_in_order(info['metrics']))}\n```",
  ]
  if has_towers:
    loaded = f'AutoModel.from_pretrained("{repo}", subfolder="towers")'
    parts.append(f"## Towers\n\n`towers/` has the fine-tuned encoders for Transformers: `{loaded}`.")
  stated = f"`{licence}`" if licence else "The authors have stated none"
  parts.append(f"## Licence\n\n{stated}. The data and the pretrained weights that it was made from have their own.")
  return "\n\n".join(parts) + "\n"


def _example(repo: str, text: str) -> str:
  return "\n".join(
    [
      "from composeret_jax import load_bundle",
      "",
      f'bundle = load_bundle("hf://{repo}")',
      'gallery = bundle.encode(["a.jpg", "b.jpg"])',
      f'query = bundle.compose(["reference.jpg"], [{text!r}])',
      "scores = query @ gallery.T",
    ]
  )


def _metadata(repo: str, info: Mapping[str, Any], licence: str) -> ModelCardData:
  """The card's YAML, which the hub reads: licence, tags, base models, recalls."""
  config = info["config"]
  sources = config["model"]["image_encoder"]["pretrained"], config["model"]["text_encoder"]["path"]
  base = sorted(set(filter(is_hub_name, sources)))
  recalls = [
    EvalResult(
      task_type="image-to-image",
      task_name="Composed image retrieval",
      dataset_type=config["data"]["dataset"],
      dataset_name=config["data"]["dataset"],
      dataset_split=info.get("split", "test"),
      metric_type="recall",
      metric_name=name,
      metric_value=value,
    )
    for name, value in _in_order(info["metrics"]).items()
    if name.startswith("R@") or name == "headline"
  ]
  return ModelCardData(
    license=licence or "unknown",
    library_name="composeret_jax",
    tags=["composed-image-retrieval", "image-retrieval", "jax"],
    base_model=base or None,
    model_name=repo.rpartition("/")[2],
    eval_results=recalls or None,
  )


def _in_order(metrics: Mapping[str, float]) -> dict[str, float]:
  """The composed query before its halves; bundle.json sorts by name."""
  return dict(sorted(metrics.items(), key=lambda item: item[0].startswith(HALVES)))


def _recipe(info: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """The rows of the card's table; nothing in them is a path of the machine that trained."""
  config = info["config"]
  model = config["model"]
  yield "data", config["data"]["dataset"]
  yield "composer", model["composer"]
  for part in ("image_encoder", "text_encoder"):
    source = model[part]["pretrained" if part == "image_encoder" else "path"]
    yield part.replace("_", " "), f"{model[part]['name']}{f' ({source})' if is_hub_name(source) else ''}"
  yield "image size", f"{info['image_size']} pixels, {info['resize']}, {info['interpolation']}"
  yield "loss", config["loss"]
  yield "optimiser", f"{config['optimizer']}, learning rate {config['learning_rate']:g}, {config['decay']} decay"
  yield "batch size", f"{config['batch_size']:,}"
  yield "steps", f"{info['step']:,}"
  yield "seed", config["seed"]
  yield "feature width", info["feature_dim"]
