// Filters by the columns that the index has: choices as chips, numbers as a range.

import {hasPicture} from "./search_state.js";

const form = document.getElementById("filters");
const button = document.getElementById("filters-button");
const layout = document.getElementById("columns");
const MAX_CHOICES = 30;

const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

export function onFilters(change) {
  button.addEventListener("click", () => unfold(button.getAttribute("aria-expanded") !== "true"));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target.validity.valid) change(chosen());
    else event.target.reportValidity();
  });
  form.addEventListener("click", (event) => {
    if (event.target.matches(".clear")) change({filters: {}, balance: 0});
    if (event.target.matches(".done")) {
      unfold(false);
      button.focus();
    }
  });
}

export function buildFilters(columns) {
  const fields = columns.map(field).filter(Boolean);
  const weigh = element("input", {type: "range", name: "balance", min: -1, max: 1, step: 0.25, id: "balance"});
  const ends = element("span", {className: "ends"}, element("span", {}, "picture"), element("span", {}, "words"));
  ends.setAttribute("aria-hidden", "true");
  const label = element("label", {htmlFor: weigh.id}, "Closer to the picture, or to the words");
  const balance = element("fieldset", {id: "weights", hidden: true}, label, weigh, ends);
  const clear = element("button", {type: "button", className: "text clear"}, "Clear filters");
  const done = element("button", {type: "button", className: "pill primary done"}, "Show the pictures");
  form.replaceChildren(...fields, balance, clear, done);
  form.hidden = button.hidden = !fields.length;
  layout.classList.toggle("filtered", fields.length > 0);
}

export function showFilters(state) {
  for (const input of form.querySelectorAll("input[type=checkbox]"))
    input.checked = (state.filters[input.name] ?? []).includes?.(input.value) ?? false;
  for (const input of form.querySelectorAll("input[type=number]"))
    input.value = state.filters[input.dataset.column]?.[input.dataset.end] ?? "";
  const weights = form.querySelector("#weights");
  if (weights) {
    weights.hidden = !(hasPicture(state) && state.texts.length);
    form.querySelector("#balance").value = state.balance;
  }
  const count = Object.keys(state.filters).length;
  button.textContent = count ? `Filters (${count})` : "Filters";
  const clear = form.querySelector(".clear");
  if (clear) clear.hidden = !count && !state.balance;
}

// Where the screen is narrow the filters are folded away.
function unfold(open) {
  button.setAttribute("aria-expanded", open);
  form.classList.toggle("open", open);
}

function chosen() {
  const filters = Object.create(null);
  for (const input of form.querySelectorAll("input:checked")) (filters[input.name] ??= []).push(input.value);
  for (const input of form.querySelectorAll("input[type=number]"))
    if (input.value !== "") (filters[input.dataset.column] ??= {})[input.dataset.end] = Number(input.value);
  return {filters, balance: Number(form.querySelector("#balance").value)};
}

function field({name, kind, values, min, max}) {
  if (name === "url") return null; // a link of each picture
  if (kind === "choice" && values?.length > 1) return choices(name, values.slice(0, MAX_CHOICES));
  return kind === "number" && min < max ? range(name, min, max) : null;
}

const choices = (name, values) =>
  element(
    "fieldset",
    {},
    element("legend", {}, name),
    ...values.map((value) =>
      element(
        "label",
        {className: "chip", title: value},
        element("input", {type: "checkbox", name, value}),
        element("span", {}, String(value)),
      ),
    ),
  );

function range(name, min, max) {
  const end = (which, shown) => {
    const input = element("input", {type: "number", step: "any", inputMode: "decimal", placeholder: shown});
    input.setAttribute("aria-label", `${name}, ${which === "min" ? "at least" : "at most"}`);
    Object.assign(input.dataset, {column: name, end: which});
    return input;
  };
  const row = element("span", {className: "range"}, end("min", min), element("span", {}, "to"), end("max", max));
  return element("fieldset", {}, element("legend", {}, name), row);
}
