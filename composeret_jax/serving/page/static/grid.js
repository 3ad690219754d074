// The pictures, as cards of one height, and more of them while one scrolls.

import {PAGE_SIZE} from "./service.js";

const grid = document.getElementById("grid");
const more = document.getElementById("more");
const template = document.getElementById("tile").content.firstElementChild;

export const nameOf = ({caption, id}) => caption || id;

export function onTiles({choose, open, showMore}) {
  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const result = button.closest("li").result;
    if (button.matches(".choose")) choose(result);
    else open(result);
  });
  more.addEventListener("click", showMore);
  const watch = new IntersectionObserver(
    ([entry]) => {
      if (entry.isIntersecting && !more.hidden && !more.disabled) showMore();
    },
    {rootMargin: "400px"},
  );
  watch.observe(more);
}

export function showSkeletons() {
  grid.replaceChildren(
    ...Array.from({length: PAGE_SIZE}, () => {
      const card = document.createElement("li");
      card.className = "tile skeleton";
      card.setAttribute("aria-hidden", "true");
      return card;
    }),
  );
  more.hidden = true;
}

export function showResults({results, next_offset}) {
  grid.replaceChildren(...tiles(results, results[0]?.score));
  grid.classList.toggle("plain", !results.some((result) => facts(result).length)); // no room is kept for them
  offerMore(next_offset);
}

export function addResults({results, next_offset}, best) {
  grid.append(...tiles(results, best));
  if (results.some((result) => facts(result).length)) grid.classList.remove("plain");
  offerMore(next_offset);
}

// Other pictures are on their way: those there are of the search before.
export function setWaiting(waiting) {
  grid.setAttribute("aria-busy", waiting);
  grid.classList.toggle("waiting", waiting);
}

export function setAdding(adding) {
  grid.setAttribute("aria-busy", adding);
  more.disabled = adding;
}

function offerMore(offset) {
  more.hidden = offset === null;
}

function tiles(results, best) {
  return results.map((result) => {
    const card = template.cloneNode(true);
    const name = nameOf(result);
    card.result = result;
    card.querySelector("img").src = result.thumbnail;
    card.querySelector(".caption").textContent = name;
    card.querySelector(".facts").textContent = facts(result).join(" · ");
    card.querySelector(".choose").title =
      `Start from this picture${result.score == null ? "" : ` (closeness ${result.score.toFixed(3)})`}`;
    card.querySelector(".details").setAttribute("aria-label", `Details of ${name}`);
    card.querySelector(".details").title = "Details";
    showScore(card.querySelector(".meter"), result.score, best);
    return card;
  });
}

// A bar that is full for the best picture: the number says nothing to most people.
export function showScore(meter, score, best) {
  meter.hidden = score == null || best === 0;
  if (score != null) meter.firstElementChild.style.width = `${100 * Math.min(1, Math.max(0.04, score / (best || 1)))}%`;
}

// Two short facts that the caption does not name already.
function facts({metadata, caption}) {
  const said = (caption ?? "").toLowerCase();
  return Object.entries(metadata ?? {})
    .filter(
      ([, value]) => value !== null && value !== "" && !isLink(value) && !said.includes(String(value).toLowerCase()),
    )
    .map(([name, value]) => (typeof value === "number" ? `${name} ${shownValue(value)}` : shownValue(value)))
    .filter((fact) => fact.length <= 24)
    .slice(0, 2);
}

// A number with its separators; of a list each value.
export const shownValue = (value) =>
  typeof value === "number" ? value.toLocaleString() : Array.isArray(value) ? value.join(", ") : String(value);

export const isLink = (value) => /^https?:\/\//.test(value);
