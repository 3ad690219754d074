"""A stand-in for the API of the Hugging Face hub, on this machine: repositories are created, written and read."""

import base64
from collections.abc import Iterator
import contextlib
import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote, urlsplit


class FakeHub:
  """`repos` has the files of each repository by name, `private` what it was created as, `requests` all that was asked.

  Files that end in .safetensors are uploaded as large files, by their SHA-256; others within the commit.
  """

  def __init__(self):
    self.repos: dict[str, dict[str, bytes]] = {}
    self.private: dict[str, bool] = {}
    self.large: dict[str, bytes] = {}
    self.requests: list[str] = []
    self.endpoint = ""

  def sha(self, repo: str) -> str:
    """A commit's number: of the content."""
    return hashlib.sha1(repr(sorted(self.repos[repo].items())).encode()).hexdigest()

  def create(self, body: bytes) -> tuple[int, dict]:
    """POST /api/repos/create."""
    fields = json.loads(body)
    repo = f"{fields['organization']}/{fields['name']}" if fields.get("organization") else fields["name"]
    if repo in self.repos:
      return 409, {"error": "exists"}
    self.repos[repo], self.private[repo] = {}, fields.get("visibility") == "private"
    return 200, {"url": f"{self.endpoint}/{repo}"}

  def preupload(self, repo: str, body: bytes) -> tuple[int, dict]:
    """Which files come as large ones."""
    names = [file["path"] for file in json.loads(body)["files"]]
    modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in names}
    return 200, {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]}

  def batch(self, repo: str, body: bytes) -> tuple[int, dict]:
    """Addresses to put large files to."""
    objects = [
      item | {"actions": {"upload": {"href": f"{self.endpoint}/large/{item['oid']}"}}}
      for item in json.loads(body)["objects"]
    ]
    return 200, {"transfer": "basic", "objects": objects}

  def commit(self, repo: str, body: bytes) -> tuple[int, dict]:
    """All files of a commit at once."""
    for line in map(json.loads, body.splitlines()):
      value = line["value"]
      if line["key"] == "file":
        self.repos[repo][value["path"]] = base64.b64decode(value["content"])
      if line["key"] == "lfsFile":
        self.repos[repo][value["path"]] = self.large[value["oid"]]
    address = f"{self.endpoint}/{repo}/commit/{self.sha(repo)}"
    return 200, {"success": True, "commitUrl": address, "commitOid": self.sha(repo)}

  def info(self, repo: str) -> tuple[int, dict]:
    """The description of a repository."""
    names = [{"rfilename": name} for name in self.repos[repo]]
    return 200, {"id": repo, "sha": self.sha(repo), "private": self.private[repo], "siblings": names, "tags": []}

  def tree(self, repo: str) -> tuple[int, list]:
    """Its files with their sizes."""
    files = self.repos[repo].items()
    return 200, [
      {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
      for name, content in files
    ]

  def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict | list | bytes]:
    """The status and the content."""
    repo = r"(?P<repo>[\w.-]+/[\w.-]+)"
    if path == "/api/repos/create":
      return self.create(body)
    if path == "/api/validate-yaml":
      return 200, {"errors": [], "warnings": []}
    if method == "PUT":
      self.large[path.rpartition("/")[2]] = body
      return 200, {}
    posts = {f"/api/models/{repo}/preupload/main": self.preupload, f"/api/models/{repo}/commit/main": self.commit}
    posts |= {f"/{repo}.git/info/lfs/objects/batch": self.batch} if method == "POST" else {}
    gets = {f"/api/models/{repo}(/revision/\\w+)?": self.info, f"/api/models/{repo}/tree/\\w+": self.tree}
    for pattern, function in posts.items():
      if match := re.fullmatch(pattern, path):
        return function(match["repo"], body)
    for pattern, function in gets.items():
      if (match := re.fullmatch(pattern, path)) and match["repo"] in self.repos:
        return function(match["repo"])
    match = re.fullmatch(f"/{repo}/resolve/\\w+/(?P<name>.+)", path)
    content = self.repos.get(match["repo"], {}).get(match["name"]) if match else None
    return (404, {"error": "not found"}) if content is None else (200, content)


def _handler(hub: FakeHub) -> type[http.server.BaseHTTPRequestHandler]:
  class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does."""

    protocol_version = "HTTP/1.1"

    def respond(self) -> None:
      """Any request."""
      path = unquote(urlsplit(self.path).path)
      hub.requests.append(f"{self.command} {path}")
      status, content = hub.answer(self.command, path, self._body())
      encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
      self.send_response(status)
      self.send_header("Content-Length", str(len(encoded)))
      self.send_header("Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json")
      if isinstance(content, bytes):
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", hub.sha("/".join(path.split("/")[1:3])))
      elif status == 404:
        self.send_header("X-Error-Code", "RepoNotFound")
      self.end_headers()
      if self.command != "HEAD":
        self.wfile.write(encoded)

    do_GET = do_HEAD = do_POST = do_PUT = respond

    def _body(self) -> bytes:
      if self.headers.get("Transfer-Encoding") != "chunked":
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
      parts = []
      while size := int(self.rfile.readline(), 16):
        parts.append(self.rfile.read(size))
        self.rfile.readline()
      self.rfile.readline()
      return b"".join(parts)

    def log_message(self, *_) -> None:
      """Nothing is printed."""

  return Handler


@contextlib.contextmanager
def fake_hub() -> Iterator[FakeHub]:
  """A hub that listens while the block runs."""
  hub = FakeHub()
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
  hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield hub
  finally:
    server.shutdown()
    server.server_close()
