"""Prints what pip-audit has found, from its JSON; exits with 1 when a newer version mends one of them."""

import json
import pathlib
import sys


def main(file: str) -> int:
  """The exit code."""
  packages = json.loads(pathlib.Path(file).read_text())["dependencies"]
  found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", ())]
  for package, vulnerability in found:
    mended = (
      f"mended in {', '.join(vulnerability['fix_versions'])}" if vulnerability["fix_versions"] else "not mended yet"
    )
    print(f"{package['name']} {package['version']}: {vulnerability['id']}, {mended}")
  unknown = [package["name"] for package in packages if "skip_reason" in package]
  if len(unknown) == len(packages):
    print(
      "Dependency audit skipped: the database of vulnerabilities knows, or could be asked of, none of the packages."
    )
    return 0
  print(f"Dependency audit: {len(packages) - len(unknown)} packages, {len(found)} known vulnerabilities")
  if unknown:
    print(f"Not looked at: {', '.join(unknown)}")
  return int(any(vulnerability["fix_versions"] for _, vulnerability in found))


if __name__ == "__main__":
  sys.exit(main(sys.argv[1]))
