"""Requests of many kinds that somebody may send who means harm; each is a function of a random generator."""

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
  "/../../../etc/passwd",
  "//etc/passwd",
  "/%00",
  "/%ff",
  "/docs",
  "/openapi.json",
  "/v1/openapi.json",
  "/page/x/..%2f..%2f..%2fsetup.py",
  "/v1/images//etc/passwd",
  "/v1/images/..%2f..%2f..%2fetc%2fpasswd/thumbnail",
  "/v1/images/%00/thumbnail",
  "/v1/images/%ed%a0%80",
  "/v1/items/..%5c..%5csetup.py",
  "/v1/items/" + "a/" * 2_000,
  "/v1/uploads/..%2fx/thumbnail",
  "/v1/suggestions?upload=../x",
  "/v1/suggestions?image=" + "a" * 5_000,
  "/v1/gallery?limit=-1",
  "/v1/gallery?limit=1e400&offset=99999999999999999999",
  "/v1/gallery?filter=" + "[" * 3_000,
  "/v1/gallery?filter=%7B%22a%22%3A%7B%22min%22%3ANaN%7D%7D",
  "/v1/session",
  "/metrics?x=../../etc",
  "/?image=../../etc/passwd&upload=x",
  "/a" * 9_000,
  "/v1/gallery?" + "a" * 9_000,
]
SEARCH, UPLOADS = "/v1/search", "/v1/uploads"
RUNS = (SEARCH, "/v1/compose", "/v1/feedback", UPLOADS, "/v1/session")


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
  """The bytes of a request."""
  head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
  return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def search_body(**fields: Any) -> bytes:
  """A search of the API."""
  return json.dumps(fields).encode()


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
  head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
  body = head.encode() + image(rng) + b"\r\n--b--\r\n"
  return post(UPLOADS, body[: rng.choice([len(body)] * 3 + [40])], "multipart/form-data; boundary=b")


def server_file(rng: random.Random) -> Any:
  """One way of naming a file of the server."""
  path = rng.choice(["/etc/passwd", "../../setup.py", "/proc/self/environ", "/dev/zero", "file:///etc/passwd", "a\0b"])
  return rng.choice([path, {"path": path}, [path], {"path": [path]}, {"url": "http://127.0.0.1:1/"}])


def by_field(rng: random.Random) -> bytes:
  """A request of which each field has a value of any kind, some that it does not know."""
  numbers = [-1, 0, 1, 4, 23.5, 24, 100, 101, 10**12, 1e308, -(2**63)]
  lists = [[], [[]] * 50, ["a"] * rng.choice([3, 5000]), [None] * 40]
  values = [*ODD, *numbers, *lists, server_file(rng), server_file(rng), text(rng), "\ud800", "caf\udce9.jpg", "0" * 32]
  names = [
    "image",
    "upload",
    "texts",
    "filters",
    "limit",
    "offset",
    "image_weight",
    "text_weight",
    "query",
    "result",
    "rating",
  ]
  fields = {name: rng.choice(values) for name in rng.sample(names, rng.randrange(len(names)))}
  if rng.random() < 0.3:
    fields["filters"] = {rng.choice(["a", text(rng)]): rng.choice(values), "b": {"min": rng.choice(values)}}
  return post(rng.choice(RUNS), json.dumps(rng.choice([fields, fields, [fields]])).encode("utf-8", "surrogatepass"))


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
      b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n{}",
      b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
      b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{",
      b"POST /v1/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
      b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    ]
  )


def broken_json(rng: random.Random) -> bytes:
  """A body that is no JSON, or nested deep, or has a number of many digits."""
  body = damaged(rng, search_body(image="a", texts=["red"], limit=5))[1]
  others = [b'{"texts":' + b"[" * 1_500, b'{"texts":' + b"[" * 50_000, b'{"limit":' + b"9" * 9000 + b"}"]
  return post(rng.choice(RUNS), rng.choice([body, *others]))


def path(rng: random.Random) -> bytes:
  """A way out of what is served, or nowhere."""
  method = rng.choice(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST", "X" * 50])
  return f"{method} {rng.choice(PATHS)} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def odd_search(rng: random.Random, id: str) -> bytes:
  """A search with one odd field, or odd texts."""
  fields = {"image": id, "texts": ["red", text(rng)] if rng.random() < 0.5 else ["red"], "limit": 5, "offset": 0}
  return post(SEARCH, json.dumps(changed_json(rng, fields)).encode("utf-8", "surrogatepass"))


KINDS: Mapping[str, Callable[[random.Random], bytes]] = {
  "broken JSON": broken_json,
  "fields": by_field,
  "no HTTP": no_http,
  "paths": path,
  "uploads": upload,
}
