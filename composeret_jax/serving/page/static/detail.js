// One picture large, with what is known of it.

import {isLink, nameOf, showScore, shownValue} from "./grid.js";
import {rate} from "./service.js";

const dialog = document.getElementById("detail");
const part = (name) => document.getElementById(`detail-${name}`);
const rating = document.getElementById("rate");
let shown = null;

export function onDetail({close, start, asked, refuse}) {
  part("close").addEventListener("click", close);
  part("image").addEventListener("error", () => {
    if (!part("image").src.endsWith(shown.thumbnail)) part("image").src = shown.thumbnail;
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) close(); // beside it
  });
  part("start").addEventListener("click", () => start(shown));
  rating.addEventListener("click", async (event) => {
    if (!event.target.matches("button")) return;
    try {
      await rate(asked(), shown.id, Number(event.target.value));
      for (const button of rating.querySelectorAll("button"))
        button.setAttribute("aria-pressed", button === event.target);
      document.getElementById("rate-label").textContent = "Thank you.";
    } catch (error) {
      close();
      refuse(error);
    }
  });
}

// `best` is the best score beside the picture's own.
export function openDetail(picture, best, rateable) {
  shown = picture;
  const name = nameOf(shown);
  part("caption").textContent = name;
  part("image").alt = name;
  part("image").src = shown.image;
  const score = shown.score ?? null;
  part("closeness").hidden = score === null;
  showScore(part("closeness").firstElementChild, score, best);
  part("closeness").lastElementChild.textContent = score === null ? "" : `closeness ${score.toFixed(3)}`;
  part("facts").replaceChildren(...facts(shown.metadata ?? {}));
  part("link").hidden = !/^(https?:\/)?\//.test(shown.url ?? "");
  part("link").href = part("link").hidden ? "" : shown.url;
  rating.hidden = !rateable || score === null;
  document.getElementById("rate-label").textContent = "Is this what you asked for?";
  for (const button of rating.querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
  if (!dialog.open) dialog.showModal();
}

export function closeDetail() {
  if (dialog.open) dialog.close(); // the focus goes back to the card
  part("image").removeAttribute("src");
}

function facts(metadata) {
  return Object.entries(metadata)
    .filter(([name, value]) => value !== null && value !== "" && !(name === "url" && isLink(value)))
    .map(([name, value]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = name;
      description.textContent = shownValue(value);
      row.append(term, description);
      return row;
    });
}
