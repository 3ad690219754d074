"""emoji_states: emoji of six skin tones by two artists, laid out as MIT-States: the tone is the adjective."""

import json
import pathlib

from benchmarks.corpora.packages import Package, read_files
from benchmarks.corpora.pictures import on_white
from data_pipelines.datasets.mit_states import TEST_NOUNS

DATA = Package("emoji-datasource", "16.0.0", "2006725061dc0098daa832d65f854a7bec0740af2eb47cb5b23d89f7e2c849f9")
ARTISTS = {
  # Noto Emoji, Apache-2.0
  "noto": (
    "google",
    Package("emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"),
  ),
  # Twemoji, CC-BY 4.0
  "twemoji": (
    "twitter",
    Package("emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"),
  ),
}
TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}
NO_TONE = "yellow"

# The emoji of the test side, under the names of MIT-States' test nouns, in their order, but for the first.
# fmt: off
TEST_EMOJI = (
  "superhero", "ok-woman", "female-detective", "bald-person", "person-with-ball", "man-kneeling", "male-doctor",
  "person-with-probing-cane", "woman-running", "runner", "crossed-fingers", "deaf-woman", "person-in-lotus-position",
  "point-up-2", "female-pilot", "artist", "rightwards-hand", "hand", "i-love-you-hand-sign", "ear-with-hearing-aid",
  "woman-wearing-turban", "male-vampire", "sleuth-or-spy", "male-guard", "pinched-fingers", "merperson",
  "male-superhero", "guardsman", "no-good", "female-mechanic", "woman-walking-facing-right", "female-police-officer",
  "man-kneeling-facing-right", "bald-man", "woman-frowning", "man-playing-water-polo",
  "man-in-motorized-wheelchair-facing-right", "raised-hands", "factory-worker", "man-in-steamy-room", "female-mage",
  "male-judge", "snowboarder", "female-scientist", "male-fairy", "man-bouncing-ball", "older-woman",
  "woman-playing-water-polo",
)


# fmt: on
def write_emoji(registry: str, downloads: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes every emoji that has five tones, in these and without one, to `folder`/images/<tone> <name>/."""
  described = json.loads(read_files(DATA.fetch(registry, downloads), "", "emoji.json")["emoji.json"])
  nouns = dict(zip(TEST_EMOJI, sorted(TEST_NOUNS)[1:], strict=True))
  for artist, (name, package) in ARTISTS.items():
    pictures = read_files(package.fetch(registry, downloads), f"img/{name}/64/", ".png")
    for emoji in described:
      variations = emoji.get("skin_variations", {})
      if not variations.keys() >= TONES.keys():  # none, or of two people
        continue
      noun = emoji["short_name"].replace("_", "-")
      files = {NO_TONE: emoji["image"], **{tone: variations[code]["image"] for code, tone in TONES.items()}}
      for tone, file in files.items():
        path = folder / "images" / f"{tone} {nouns.get(noun, noun)}" / f"{artist}-{pathlib.Path(file).stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(on_white(pictures[file]))
