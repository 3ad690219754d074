// The search service's answers. Every refusal becomes an Error whose message a person can read.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The search cannot be reached. Check the connection and try again.", 0);
  }
  if (reply.status === 204) return null;
  const content = await reply.json().catch(() => null);
  if (reply.ok && content) return content;
  throw new Refused(content?.error ?? `The search answered with an error (${reply.status}).`, reply.status);
}

const post = (path, body, signal) =>
  ask(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body), signal});

// Slashes stay: some proxies refuse them quoted.
const quoted = (id) => id.split("/").map(encodeURIComponent).join("/");

export const PAGE_SIZE = 24;

export const about = () => ask("v1/page");

export const columns = () => ask("v1/columns").then((answer) => answer.columns);

export function gallery(filters, offset, signal) {
  const fields = new URLSearchParams({limit: PAGE_SIZE, offset});
  if (Object.keys(filters).length) fields.set("filter", JSON.stringify(filters));
  return ask(`v1/gallery?${fields}`, {signal});
}

export function search(state, offset, signal) {
  const {image, upload, texts, filters, balance} = state;
  // Weights pull towards the picture or the words alone; they say nothing of a search that has only one of the two.
  const both = (image || upload) && texts.length;
  const weights = both ? {image_weight: Math.max(0, -balance), text_weight: Math.max(0, balance)} : {};
  return post("v1/search", {image, upload, texts, filters, limit: PAGE_SIZE, offset, ...weights}, signal);
}

export function suggestions({image, upload}, signal) {
  const fields = new URLSearchParams({...(image ? {image} : {upload}), limit: 6});
  return ask(`v1/suggestions?${fields}`, {signal}).then((answer) => answer.suggestions.map(({text}) => text));
}

export const item = (id) => ask(`v1/items/${quoted(id)}`);

export function upload(file) {
  const body = new FormData();
  body.append("file", file, "picture");
  return ask("v1/uploads", {method: "POST", body});
}

export const uploadThumbnail = (token) => `v1/uploads/${quoted(token)}/thumbnail`;

export const rate = ({image, upload, texts}, result, rating) =>
  post("v1/feedback", {query: {...(image ? {image} : {}), ...(upload ? {upload} : {}), texts}, result, rating});
