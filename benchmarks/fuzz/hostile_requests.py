"""Requests of many kinds that somebody may send who means harm; each is a function of a random generator."""

import base64
from collections.abc import Callable, Mapping
import io
import json
import random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fuzz.hostile_files import changed_json, damaged, ODD

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
PATHS = [
  "/file=/etc/passwd",
  "/gradio_api/file=/etc/passwd",
  "/gradio_api/file/etc/passwd",
  "/../../../etc/passwd",
  "/gradio_api/proxy=http://127.0.0.1:1/",
  "/static/../../setup.py",
  "/assets/..%2f..%2f..%2fetc%2fpasswd",
  "/gradio_api/custom_component/1/client/x/..%2f..%2fa",
  "/svelte/..%5c..%5csetup.py",
  "//etc/passwd",
  "/%00",
  "/%ff",
  "/gradio_api/upload_progress?upload_id=../../x",
  "/openapi.json",
  "/gradio_api/dev/reload",
  "/gradio_api/startup-events",
  "/gradio_api/theme.css",
  "/monitoring",
  "/docs",
  "/gradio_api/runs",
  "/gradio_api/vibe-code",
  "/gradio_api/heartbeat/x",
  "/gradio_api/deep_link?session_hash=x",
  "/manifest.json",
  "/gradio_api/stream/a/b/c/playlist.m3u8",
  "/gradio_api/call/search/x",
  "/?__theme=../../x",
  "/?deep_link=../../etc",
]
PATHS += ["/a" * 9_000, f"/gradio_api/queue/data?session_hash={'a' * 3_000}"]
# Functions of the page that are not the API's are called by number.
SEARCH = "/gradio_api/run/search"
RUNS = (SEARCH, "/gradio_api/run/predict", "/gradio_api/call/search", "/gradio_api/queue/join")


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
  """The bytes of a request."""
  head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
  return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def search_body(*arguments: Any) -> bytes:
  """The API's arguments."""
  return json.dumps({"data": list(arguments)}).encode()


def image(rng: random.Random) -> bytes:
  """An image file, damaged or claiming to be huge in most."""
  pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (12, 10, 3), np.uint8)
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, rng.choice(FORMATS))
  content = stream.getvalue()
  if rng.random() < 0.2:
    content = content[:16] + rng.randbytes(8) + content[24:]  # where PNG, GIF and BMP have their sizes
  return damaged(rng, content)[1] if rng.random() < 0.7 else content


def text(rng: random.Random) -> str:
  """Words, controls, other scripts, templates and markup, of any length."""
  parts = [
    "red",
    "\0",
    "‮",
    "😀",
    "<script>alert(1)</script>",
    "${7*7}{{7*7}}",
    "' OR 1=1 --",
    "\ud800",
    "\r\n\r\n",
    "ß" * 400,
  ]
  return "".join(rng.choice(parts) for _ in range(rng.choice([1, 3, 50, 3000])))


def upload(rng: random.Random) -> bytes:
  """A form with a file whose name leads elsewhere."""
  name = rng.choice(["a.png", "../../../etc/cron.d/a", "/etc/passwd", "a\0.png", "x" * 5000, "..", "a.png\r\nX: y", ""])
  head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
  body = head.encode() + image(rng) + b"\r\n--b--\r\n"
  return post("/gradio_api/upload", body[: rng.choice([len(body)] * 3 + [40])], "multipart/form-data; boundary=b")


def server_file(rng: random.Random) -> Any:
  """One way of naming a file of the server."""
  path = rng.choice(["/etc/passwd", "../../setup.py", "/proc/self/environ", "/dev/zero", "file:///etc/passwd", "a\0b"])
  file = {"path": path, "meta": {"_type": "gradio.FileData"}}
  return rng.choice([path, file, [file], {"files": [file]}, {**file, "url": "http://127.0.0.1:1/"}, {"path": [path]}])


def by_number(rng: random.Random) -> bytes:
  """A call of one of the page's own functions, as the page makes it or with values of any kind."""
  numbers = [-1, 0, 1, 4, 23.5, 24, 100, 101, 10**12, 1e308, -(2**63)]
  lists = [[], [[]] * 50, ["a"] * rng.choice([3, 5000]), [None] * 40]
  values = [*ODD, *numbers, *lists, server_file(rng), server_file(rng), text(rng), "\ud800", "caf\udce9.jpg"]
  number = rng.choice([*range(25), *range(25), -1, 10**9, True, "search", None])
  fitting = [None, 24, 0, 0, "red"]
  data: Any = [rng.choice([fitting[place % 5], rng.choice(values)]) for place in range(rng.randrange(8))]
  body = {"data": rng.choice([data, data, data, rng.choice(values)]), "fn_index": number}
  body["session_hash"] = rng.choice(["a", "b", "x" * 3000, str(rng.random())[2:], rng.choice(values)])
  body["event_data"] = rng.choice([None, {"value": rng.choice(values)}, rng.choice(values)])
  if rng.random() < 0.2:
    body[rng.choice(["trigger_id", "batched", "request", "event_id", "simple_format"])] = rng.choice(values)
  return post(rng.choice(RUNS), json.dumps(body).encode("utf-8", "surrogatepass"))


def no_http(rng: random.Random) -> bytes:
  """Requests that an HTTP server should not get."""
  return rng.choice(
    [
      rng.randbytes(rng.choice([1, 100, 70_000])),
      b"GET / HTTP/9.9\r\n\r\n",
      b"GET /"
      + rng.randbytes(50).hex().encode()
      + b" HTTP/1.1\r\nHost: a\r\nX: "
      + b"y" * rng.choice([10, 200_000])
      + b"\r\n\r\n",
      b"POST /gradio_api/run/search HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n{}",
      b"POST /gradio_api/run/search HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
      b"POST /gradio_api/run/search HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{",
      b"POST /gradio_api/run/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
      b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    ]
  )


def broken_json(rng: random.Random) -> bytes:
  """A body that is no JSON, or nested deep, or has a number of many digits."""
  body = damaged(rng, search_body("a", ["red"], "", 5, 0.0, 0.0))[1]
  return post(rng.choice(RUNS), rng.choice([body, b'{"data":' + b"[" * 50_000, b'{"data":[' + b"9" * 9000 + b"]}"]))


def path(rng: random.Random) -> bytes:
  """A way out of what is served, or nowhere."""
  method = rng.choice(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST", "X" * 50])
  return f"{method} {rng.choice(PATHS)} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def sent_image(rng: random.Random) -> bytes:
  """A search with an image that was sent."""
  content = base64.b64encode(image(rng)).decode()
  return post(SEARCH, search_body("", [], content if rng.random() < 0.9 else content[:-1] + "?", 5, 0.0, 0.0))


def odd_search(rng: random.Random, id: str) -> bytes:
  """A search with one odd argument, or odd texts."""
  arguments = [id, ["red", text(rng)] if rng.random() < 0.5 else ["red"], "", 5, 0.0, 0.0]
  return post(SEARCH, json.dumps(changed_json(rng, {"data": arguments})).encode("utf-8", "surrogatepass"))


KINDS: Mapping[str, Callable[[random.Random], bytes]] = {
  "broken JSON": broken_json,
  "functions by number": by_number,
  "no HTTP": no_http,
  "paths": path,
  "sent images": sent_image,
  "uploads": upload,
}
