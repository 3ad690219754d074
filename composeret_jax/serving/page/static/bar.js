// The bar that stays in view, and below it the steps of the search: the picture, and what was said of it.

import {hasPicture, isSearch} from "./search_state.js";
import {uploadThumbnail} from "./service.js";

const bar = document.getElementById("bar");
const words = document.getElementById("words");
const steps = document.getElementById("steps");
const current = document.getElementById("current");
const template = document.getElementById("step").content.firstElementChild;

export function onBar({say, dropPicture, dropText, showPicture, undo, over, copy}) {
  bar.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (text) say(text);
    else words.focus();
  });
  current.addEventListener("click", showPicture);
  steps.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.place === "picture") dropPicture();
    else dropText(Number(button.dataset.place));
  });
  document.getElementById("undo").addEventListener("click", undo);
  document.getElementById("over").addEventListener("click", over);
  document.getElementById("copy").addEventListener("click", copy);
}

// `picture` is the chosen one's caption and thumbnail, once they are known.
export function showBar(state, picture) {
  const chosen = hasPicture(state);
  current.hidden = !chosen || !picture;
  current.disabled = !state.image; // an upload has no more to show
  if (picture) current.firstElementChild.src = picture.thumbnail;
  document.getElementById("words-label").textContent = chosen ? "What should be different?" : "Search by words";
  words.placeholder = chosen
    ? hint("What should be different?", "What to change?")
    : hint("Search by words, or show a picture", "Words, or a picture");
  const list = state.texts.map((text, place) => step(`“${text}”`, place));
  if (chosen) list.unshift(step(`Start: ${picture ? picture.caption || picture.id : "…"}`, "picture"));
  steps.replaceChildren(...list);
  steps.scrollLeft = steps.scrollWidth; // the newest is in view
  steps.classList.toggle("cut", steps.scrollLeft > 0);
  document.getElementById("talk").hidden = !isSearch(state);
}

export function showText(state) {
  words.value = hasPicture(state) ? "" : (state.texts.at(-1) ?? "");
}

// The next thing to do where there is a keyboard; a phone's would cover the pictures.
export function focusWords() {
  if (matchMedia("(pointer: fine)").matches) words.focus({preventScroll: true});
  else words.blur();
}

export const uploaded = (token) => ({caption: "your picture", thumbnail: uploadThumbnail(token)});

const hint = (long, short) => (matchMedia("(max-width: 640px)").matches ? short : long);

function step(text, place) {
  const item = template.cloneNode(true);
  item.firstElementChild.textContent = text;
  const button = item.lastElementChild;
  button.dataset.place = place;
  button.setAttribute("aria-label", `Take back: ${text}`);
  button.title = "Take back";
  return item;
}
