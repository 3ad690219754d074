"""`--mode=serve`: the page at an address of this machine."""

from composeret_jax.page.blocks import build_blocks, CSS, gr, THEME  # first: says so where Gradio is not installed

# isort: split
import fastapi
from gradio.utils import get_upload_folder
import uvicorn

from composeret_jax.page.guard import Guard
from composeret_jax.page.uploads import MAX_BYTES
from composeret_jax.searcher import Searcher


def build_app(searcher: Searcher) -> fastapi.FastAPI:
  """The page and its HTTP API, behind the guard."""
  app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
  blocks = build_blocks(searcher)
  options = {"theme": THEME, "css_paths": CSS, "footer_links": ["api"], "run_history": False, "ssr_mode": False}
  app = gr.mount_gradio_app(app, blocks, path="/", max_file_size=MAX_BYTES, show_error=False, **options)
  blocks.has_launched = True  # or Gradio reads any file that a request names: mount_gradio_app leaves it False
  app.add_middleware(Guard, uploads=get_upload_folder())
  return app


def serve(searcher: Searcher, host: str, port: int) -> None:
  """Serves until it is interrupted."""
  app = build_app(searcher)
  print(f"Page: http://{host}:{port}  ({len(searcher.index):,} images; ends with Ctrl+C)")
  uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)
