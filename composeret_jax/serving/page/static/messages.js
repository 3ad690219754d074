// What the page says: the line above the pictures, notes, troubles, progress, suggestions.

import {hasPicture, isSearch} from "./search_state.js";

const trouble = document.getElementById("trouble");
const progress = document.getElementById("progress");
const suggestions = document.getElementById("suggestions");
const status = document.getElementById("status");
const shop = document.title;
const running = [];

trouble.querySelector("button").addEventListener("click", () => clearTrouble());

export function showTrouble(message) {
  trouble.hidden = false;
  trouble.querySelector("p").textContent = message;
}

export function clearTrouble() {
  trouble.hidden = true;
  trouble.querySelector("p").textContent = "";
}

// For screen readers, and for a moment for everybody.
export function say(message, visibly = false) {
  status.textContent = message;
  status.classList.toggle("toast", visibly);
  if (visibly) setTimeout(() => status.classList.remove("toast"), 2500);
}

// Runs `work`; `setBusy` is true from its start to its end, and to that of others with the same `setBusy`. The line on
// the bar moves from a moment after the start: a quick answer does not flicker.
export async function whileBusy(work, setBusy) {
  const timer = setTimeout(() => (progress.hidden = false), 150);
  running.push(setBusy);
  setBusy(true);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
    running.splice(running.indexOf(setBusy), 1);
    progress.hidden ||= !running.length;
    setBusy(running.includes(setBusy));
  }
}

// `search` takes other words, `clear` forgets the filters.
export function showLine(state, answer, {search, clear}) {
  const heading = headline(state, answer);
  document.getElementById("heading").textContent = heading;
  document.title = [state.texts.join(", "), shop].filter(Boolean).join(" · "); // in bookmarks and behind Back
  const note = document.getElementById("note");
  note.replaceChildren(...notes(answer, state));
  if (!answer.results.length && Object.keys(state.filters).length) note.append(offer("Clear the filters", clear));
  if (answer.nearest_word)
    note.append(offer(answer.nearest_word, () => search(corrected(state.texts.at(-1) ?? "", answer))));
  note.hidden = !note.childNodes.length;
  say([heading, `${answer.results.length} pictures`, note.textContent].filter(Boolean).join(". "));
}

export function showSuggestions(texts, take) {
  suggestions.replaceChildren(...texts.map((text) => offer(text, () => take(text))));
  suggestions.hidden = !texts.length;
}

function headline(state, {results}) {
  if (!results.length)
    return Object.keys(state.filters).length ? "Nothing matches these filters" : "There are no pictures yet";
  if (results.every(({score}) => score === 0)) return "No match: other pictures"; // no word is known
  if (state.texts.length) return "Best matches";
  return hasPicture(state) ? "Pictures like it" : "Pictures to start from";
}

function notes({message, unknown_words}, state) {
  const parts = message ? [message] : [];
  if (!isSearch(state)) parts.push("Choose one, then say what to change.");
  if (unknown_words?.length && !message) parts.push(`Not known here, and left out: ${unknown_words.join(", ")}.`);
  return parts.map((part) => `${part} `);
}

// The text with the word that the message names in quotation marks replaced by the nearest one.
function corrected(text, {message, nearest_word}) {
  const words = text.split(/\s+/);
  const place = words.findIndex((word) => message?.toLowerCase().includes(`“${word.toLowerCase()}”`));
  return place < 0 ? nearest_word : words.with(place, nearest_word).join(" ");
}

function offer(text, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pill";
  button.textContent = text;
  button.addEventListener("click", act);
  return button;
}
