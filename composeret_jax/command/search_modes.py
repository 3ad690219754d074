"""The modes that index images, search and serve."""

import functools

from absl import flags

from composeret_jax.command import run_flags
from data_pipelines.input_error import InputError


def index() -> None:
  """Encodes images and adds them to an index."""
  from composeret_jax.serving.bundle import load
  from composeret_jax.serving.index.build import fill_index
  from composeret_jax.serving.index.locations import local_index
  from composeret_jax.serving.index.sources import folder_images, parse_shard
  from data_pipelines.paths import check_apart

  shard = parse_shard(run_flags.SHARD.value) if run_flags.SHARD.value else None
  images = None
  is_gallery = run_flags.IMAGES.value == "gallery" and run_flags.CONFIG.value is not None
  if is_gallery or not run_flags.IMAGES.value:
    _check_unread(run_flags.CAPTIONS, run_flags.METADATA)
  if is_gallery:
    from composeret_jax.export.gallery_images import gallery_images

    images = gallery_images(run_flags.CONFIG.value)
  elif run_flags.IMAGES.value or not run_flags.DELETE.value:
    run_flags.required_text(run_flags.IMAGES)
    folder, index = run_flags.path(run_flags.IMAGES), local_index(run_flags.required_text(run_flags.INDEX))
    if index:
      check_apart(index, "--index", folder, "--images")
    captions, metadata = (
      run_flags.path(flag) if flag.value else None for flag in (run_flags.CAPTIONS, run_flags.METADATA)
    )
    images = folder_images(folder, captions, metadata)
  fill_index(
    load(run_flags.required_text(run_flags.BUNDLE)),
    run_flags.required_text(run_flags.INDEX),
    images,
    delete=run_flags.DELETE.value,
    on_bad_image=run_flags.ON_BAD_IMAGE.value,
    prune=run_flags.PRUNE.value,
    shard=shard,
    quantise=run_flags.QUANTISE.value,
  )


def _check_unread(*names: flags.FlagHolder) -> None:
  """Raises InputError where a flag is set that is for a folder of images alone."""
  for name in (flag.name for flag in names if flag.value):
    raise InputError(f"--{name} is for --images=FOLDER, and would not be read")


def search() -> None:
  """Searches an index by an image and a text."""
  from composeret_jax.serving.search_command import search
  from composeret_jax.serving.searcher import Searcher

  searcher = Searcher.open(run_flags.required_text(run_flags.BUNDLE), run_flags.required_text(run_flags.INDEX))
  search(
    searcher,
    run_flags.required_text(run_flags.IMAGE),
    run_flags.TEXT.value,
    k=run_flags.K.value,
    as_json=run_flags.JSON.value,
    picture=run_flags.path(run_flags.PICTURE),
  )


def serve() -> None:
  """Serves searches over HTTP, and a search page."""
  from composeret_jax.serving.page.routes import page_routes
  from composeret_jax.serving.searcher import Searcher
  from composeret_jax.serving.service.server import serve
  from composeret_jax.serving.service.settings import read_api_keys, Settings

  settings = Settings(
    url_prefix=run_flags.URL_PREFIX.value,
    page_title=run_flags.PAGE_TITLE.value,
    page_logo=run_flags.path(run_flags.PAGE_LOGO) if run_flags.PAGE_LOGO.value else None,
    page_accent=run_flags.PAGE_ACCENT.value,
    api_keys=read_api_keys(run_flags.API_KEYS.value) if run_flags.API_KEYS.value else (),
    rate_limit=run_flags.RATE_LIMIT.value,
    feedback=run_flags.path(run_flags.FEEDBACK) if run_flags.FEEDBACK.value else None,
    suggestions=run_flags.path(run_flags.SUGGESTIONS) if run_flags.SUGGESTIONS.value else None,
  )
  bundle, index = run_flags.required_text(run_flags.BUNDLE), run_flags.required_text(run_flags.INDEX)
  serve(
    functools.partial(Searcher.open, bundle, index),
    settings,
    run_flags.HOST.value,
    run_flags.PORT.value,
    page_routes,
    run_flags.WORKERS.value,
  )
