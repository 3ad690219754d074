// Pictures of the person's own: from a file, the camera, the clipboard or a drop, to the service.

import {Refused, upload} from "./service.js";

const MAX_BYTES = 20_000_000;
const SIDE = 1024; // pixels: a model sees fewer, and a phone's photograph is sent ten times as fast
const kept = (token) => `picture ${token}`;

export function onPictures(take, refuse) {
  const ways = document.getElementById("ways");
  ways.addEventListener("beforetoggle", () => {
    const {bottom, right} = document.getElementById("bar").getBoundingClientRect();
    Object.assign(ways.style, {top: `${bottom + 6}px`, left: `${right - 280}px`}); // below the bar, wherever it stands
  });
  ways.addEventListener("click", (event) => {
    const input = document.getElementById(event.target.dataset.input);
    if (input) input.click();
  });
  ways.addEventListener("change", ({target}) => {
    ways.hidePopover();
    if (target.files.length) take(target.files[0]);
    target.value = ""; // the same file can be chosen again
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({type}) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  onDrop(take, refuse);
}

function onDrop(take, refuse) {
  const layer = document.getElementById("drop");
  const holdsFile = (event) => event.dataTransfer.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    layer.classList.add("shown");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) layer.classList.remove("shown");
  });
  addEventListener("drop", (event) => {
    layer.classList.remove("shown");
    if (!holdsFile(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) take(file);
    else refuse(new Refused("There is no picture in what you dropped.", 400));
  });
}

// The service's token for a picture, which is made smaller first where it is large.
export async function send(file) {
  const picture = (await smaller(file).catch(() => null)) ?? file;
  if (picture.size > MAX_BYTES) throw new Refused("This file is larger than 20 MB. Choose a smaller picture.", 413);
  const {upload: token} = await upload(picture);
  await keep(token, picture).catch(() => {});
  return token;
}

// The service forgets uploads after some minutes: this tab sends its own once more. Null where it has none.
export async function sendAgain(token) {
  const address = sessionStorage.getItem(kept(token));
  if (!address) return null;
  const [head, content] = address.split(",");
  const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
  return send(new Blob([bytes], {type: head.slice(5).split(";")[0]}));
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file);
  const scale = SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size < 1_000_000) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * Math.min(1, scale)));
  canvas.height = Math.max(1, Math.round(bitmap.height * Math.min(1, scale)));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // behind transparent parts
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

const keep = (token, picture) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = reject;
    reader.onload = () => {
      try {
        resolve(sessionStorage.setItem(kept(token), reader.result));
      } catch (error) {
        reject(error); // the tab's store is full
      }
    };
    reader.readAsDataURL(picture);
  });
