// The state in the page's address, so that a reload, a link and Back keep it.

import {EMPTY} from "./search_state.js";

export function toAddress(state) {
  const fields = new URLSearchParams();
  for (const name of ["image", "upload"]) if (state[name]) fields.set(name, state[name]);
  for (const text of state.texts) fields.append("text", text);
  for (const [column, wanted] of Object.entries(state.filters)) {
    if (Array.isArray(wanted)) for (const value of wanted) fields.append(`is.${column}`, value);
    else for (const [end, value] of Object.entries(wanted)) fields.set(`${end}.${column}`, value);
  }
  if (state.balance) fields.set("balance", state.balance);
  if (state.item) fields.set("item", state.item);
  const text = fields.toString();
  return text ? `?${text}` : document.baseURI;
}

export function fromAddress(search) {
  const fields = new URLSearchParams(search);
  const filters = Object.create(null); // a column may be called as a property of every object is: constructor
  for (const [name, value] of fields) {
    const [, end, column] = name.match(/^(is|min|max)\.(.+)$/s) ?? [];
    if (end === "is") filters[column] = [...(filters[column] ?? []), value];
    else if (end && Number.isFinite(Number(value))) filters[column] = {...filters[column], [end]: Number(value)};
  }
  const image = fields.get("image");
  const balance = Number(fields.get("balance"));
  return {
    ...EMPTY,
    image,
    upload: image ? null : fields.get("upload"),
    texts: fields.getAll("text").filter((text) => text.trim()),
    filters,
    balance: Math.abs(balance) <= 1 ? balance : 0,
    item: fields.get("item"),
  };
}

// Shows the state in the address. A state that is only put right takes the place of the one before.
export function remember(state, {replace = false} = {}) {
  const depth = history.state?.depth ?? 0;
  if (replace) history.replaceState({depth}, "", toAddress(state));
  else history.pushState({depth: depth + 1}, "", toAddress(state));
}

export const canGoBack = () => (history.state?.depth ?? 0) > 0;
