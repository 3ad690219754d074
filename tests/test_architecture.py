"""The tree is the architecture: rooms from bottom to top, and imports that run up this list only."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]

FACE = "composeret_jax"  # what users import by name, from any room

# A module imports from its own room and from rooms above it in this list.
ROOMS = (
  "data_pipelines.input_error",
  "data_pipelines.buckets.addresses",
  "data_pipelines.field_rules",
  "data_pipelines.untrusted_json",
  "data_pipelines.files",
  "data_pipelines.worker_processes",
  "data_pipelines.locks",
  "data_pipelines.paths",
  "data_pipelines.folders",
  "data_pipelines.buckets",
  "data_pipelines.protocol",
  "data_pipelines.tables",
  "data_pipelines.pixels",
  "data_pipelines.texts",
  "data_pipelines.samplers",
  "data_pipelines.datasets",
  "data_pipelines.prepared",
  "data_pipelines.dataset",
  "data_pipelines.loader",
  "composeret_jax.top_k",
  "composeret_jax.distributed",
  "composeret_jax.models",
  "composeret_jax.serving",
  "composeret_jax.pretrained",
  "composeret_jax.evaluation",
  "composeret_jax.train_step",
  "composeret_jax.training",
  "composeret_jax.export",
  "composeret_jax.command",
  FACE,
)
MAX_MODULES, MAX_OWN_IMPORTS = 12, 15
MAX_FOLDERS, MAX_TOP_MODULES = 8, 3


def module_name(path: pathlib.Path) -> str:
  return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
  module_name(path): path for top in ("composeret_jax", "data_pipelines") for path in sorted((ROOT / top).rglob("*.py"))
}
del MODULES["data_pipelines"]  # a docstring


def imports(path: pathlib.Path) -> set[str]:
  """Our own modules that a module imports, anywhere in it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        full = f"{node.module}.{alias.name}"
        found.add(full if full in MODULES else node.module)
  return found & MODULES.keys()


def room(module: str) -> int:
  """The place of a module's room in the list."""
  inside = [name for name in ROOMS if module == name or module.startswith(f"{name}.")]
  return ROOMS.index(max(inside, key=len))


GRAPH = {module: imports(path) for module, path in MODULES.items()}


def test_every_module_is_in_a_room():
  assert [module for module in MODULES if room(module) == len(ROOMS) - 1] == [FACE]


def test_no_import_runs_up():
  arrows = [
    f"{module} -> {other}" for module, others in GRAPH.items() for other in others if room(other) > room(module)
  ]
  assert arrows == []


def test_no_modules_import_each_other_in_a_circle():
  left = {module: set(others) - {module} for module, others in GRAPH.items()}
  while free := [module for module, others in left.items() if not others & left.keys()]:
    for module in free:
      del left[module]
  assert left == {}


@pytest.mark.parametrize("module", [module for module in MODULES if module != FACE])
def test_a_module_imports_few_of_ours(module):
  assert len(GRAPH[module]) <= MAX_OWN_IMPORTS


def test_a_folder_holds_few_modules():
  sizes = {}
  for path in MODULES.values():
    if path.name != "__init__.py":
      sizes[path.parent] = sizes.get(path.parent, 0) + 1
  assert {str(folder): size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_the_package_has_few_folders_and_modules_at_the_top():
  top = ROOT / "composeret_jax"
  assert len([path for path in top.iterdir() if path.is_dir() and any(path.glob("*.py"))]) <= MAX_FOLDERS
  assert len(list(top.glob("*.py"))) <= MAX_TOP_MODULES


def test_the_picture_in_the_docs_is_the_tree():
  """docs/architecture.md draws each room, from top to bottom, with the rooms that it imports."""
  text = (ROOT / "docs" / "architecture.md").read_text()
  _, picture, *_ = text.split("```\n")
  drawn = {}
  for line in picture.splitlines()[1:]:
    name, _, others = (part.strip() for part in re.split(r"\s{2,}", line, maxsplit=2))
    drawn[name] = set(others.split()) - {"-"}
  found: dict[str, set[str]] = {}
  for module, others in GRAPH.items():
    found.setdefault(floor(module), set()).update(floor(other) for other in others)
  beside = {"composeret_jax", "distributed", "top_k"}
  found = {name: others - beside - {name} for name, others in found.items() if name not in beside}
  assert drawn == found
  rooms = [floor(name) for name in ROOMS]
  assert list(drawn) == [name for name in reversed(list(dict.fromkeys(rooms))) if name not in beside]


def floor(module: str) -> str:
  """The folder of the package that a module is in; data_pipelines is one."""
  top, _, rest = module.partition(".")
  return top if top == "data_pipelines" or not rest else rest.partition(".")[0]
