import contextlib
import itertools
import shutil

import pytest

from composeret_jax.serving.index import create_index, open_index
from composeret_jax.serving.index.build import build
from composeret_jax.serving.index.sources import SourceImage
from composeret_jax.serving.page.routes import page_routes
from composeret_jax.serving.searcher import Searcher
from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.limits.upload_folder import UploadFolder
from composeret_jax.serving.service.settings import Settings
from tests.composeret_jax.serving.page.shopper import Shopper
from tests.fakes.fake_bundle import fake_bundle
from tests.fakes.served import encoded_image, HOSTILE, served
from tests.fakes.slow import slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

NAMES = [f"{kind} {number}" for kind in ("dress", "hat") for number in range(10)]


def images():
  captions = [f"{colour} {name}" for colour, name in itertools.product(("red", "blue", "striped"), NAMES)]
  for seed, caption in enumerate([*captions, HOSTILE]):
    folder = "clothes" if seed % 2 else "bags"
    facts = {"category": folder, "price": seed, "url": f"https://shop.example/{seed}"}
    yield SourceImage(f"{folder}/{caption}.png", caption, "", lambda seed=seed: encoded_image(seed), facts)


@pytest.fixture(scope="package")
def searcher(tmp_path_factory):
  bundle = fake_bundle()
  folder = tmp_path_factory.mktemp("searched") / "index"
  with contextlib.closing(create_index(folder, bundle.fingerprint, bundle.feature_dim)) as index:
    build(bundle, index, list(images()))
  return Searcher(bundle, open_index(folder))


@pytest.fixture(scope="package")
def uploads(tmp_path_factory):
  return UploadFolder(tmp_path_factory.mktemp("sent") / "uploads")


@pytest.fixture(scope="package")
def feedback(tmp_path_factory):
  """The file of what people chose."""
  return tmp_path_factory.mktemp("feedback") / "chosen.jsonl"


@pytest.fixture(scope="package")
def address(searcher, uploads, feedback):
  """Where the page is served, under a prefix."""
  settings = Settings(url_prefix="/shop", page_title="Marble & Co.", feedback=feedback)
  with served(build_app(searcher, settings, page_routes, uploads)) as address:
    yield f"{address}/shop/"


@pytest.fixture(scope="package")
def browser():
  if not CHROMIUM:
    pytest.skip("no Chromium is installed: apt-get install chromium")
  sync_api = pytest.importorskip("playwright.sync_api")
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def arrive(browser, address):
  """Opens the page for one more person; afterwards none may have asked elsewhere, or met an error in a script."""
  people = []

  def arrive(path: str = "", **options) -> Shopper:
    people.append(Shopper(browser, address, path, **options))
    return people[-1]

  yield arrive
  for shopper in people:
    shopper.page.context.close()
  assert [trouble for shopper in people for trouble in shopper.troubles] == []


@pytest.fixture(params=["desktop", slow("phone")])
def shopper(arrive, request):
  """One person, at a desktop computer or with a phone."""
  return arrive(phone=request.param == "phone")
