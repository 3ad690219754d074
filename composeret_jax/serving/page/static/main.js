// The page: what happens on each event, from the state before to the state after, and what is shown of it.

import {canGoBack, fromAddress, remember} from "./address.js";
import {focusWords, onBar, showBar, showText, uploaded} from "./bar.js";
import {closeDetail, onDetail, openDetail} from "./detail.js";
import {buildFilters, onFilters, showFilters} from "./filters.js";
import {addResults, nameOf, onTiles, setAdding, setWaiting, showResults, showSkeletons} from "./grid.js";
import {askForKey} from "./key.js";
import {clearTrouble, say as announce, showLine, showSuggestions, showTrouble, whileBusy} from "./messages.js";
import {onPictures, send, sendAgain} from "./pictures.js";
import {about, columns, gallery, item, rate, search, suggestions} from "./service.js";
import * as next from "./search_state.js";

const MAX_KEPT = 20;
let state = fromAddress(location.search);
let page = {images: 0, feedback: false, composes_turns: true};
let asking = new AbortController();
const answers = new Map(); // by what was asked, so that Back shows them at once
const pictures = new Map(); // captions and thumbnails of pictures seen, by id or token

const key = (asked) => JSON.stringify(next.query(asked));
const shown = () => answers.get(key(state));
// What can be learned from: a picture of the index, and what was said of it.
const rateable = () => page.feedback && state.image !== null && state.texts.length > 0;
const best = () => shown()?.results[0]?.score ?? null;

// Shows a state: its address at once, its results as soon as they are there; those before stay until then.
async function go(to, {replace = false, from = "page"} = {}) {
  const changed = key(to) !== key(state) || from === "start";
  if (from === "page") remember(to, {replace});
  state = to;
  clearTrouble();
  showDetail();
  if (!changed) return;
  showSearch();
  showText(state);
  asking.abort();
  asking = new AbortController();
  await Promise.all(
    [showAnswer(asking.signal), namePicture(), suggest(asking.signal)].map((part) => part.catch(failed)),
  );
}

function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) askForKey();
  else showTrouble(error.message);
}

function showSearch() {
  showBar(state, pictures.get(state.image ?? state.upload));
  showFilters(state);
}

async function showAnswer(signal) {
  if (!shown()) {
    const answer = await whileBusy(() => ask(state, 0, signal), setWaiting);
    if (signal.aborted) return;
    answers.set(key(state), answer);
    if (answers.size > MAX_KEPT) answers.delete(answers.keys().next().value);
  }
  showResults(shown());
  showLine(state, shown(), {
    search: (text) => go({...next.EMPTY, filters: state.filters, texts: [text]}),
    clear: () => go({...state, filters: {}}),
  });
}

// An answer; a picture that the service has forgotten is sent once more.
async function ask(asked, offset, signal) {
  try {
    const answer = await (next.isSearch(asked)
      ? search(asked, offset, signal)
      : gallery(asked.filters, offset, signal));
    for (const result of answer.results) pictures.set(result.id, result);
    return answer;
  } catch (error) {
    const token = error.status === 404 && asked.upload ? await sendAgain(asked.upload) : null;
    if (!token || signal.aborted) throw error;
    state = {...asked, upload: token};
    remember(state, {replace: true});
    await namePicture();
    return ask(state, offset, signal);
  }
}

async function showMore() {
  const [asked, answer, {signal}] = [state, shown(), asking];
  if (!answer || answer.next_offset === null) return;
  try {
    const added = await whileBusy(() => ask(asked, answer.next_offset, signal), setAdding);
    answer.results.push(...added.results);
    answer.next_offset = added.next_offset;
    if (!signal.aborted) addResults(added, best());
    announce(`${answer.results.length} pictures`);
  } catch (error) {
    failed(error);
  }
}

async function namePicture() {
  const id = state.image ?? state.upload;
  if (!id) return;
  if (!pictures.has(id)) pictures.set(id, state.upload ? uploaded(id) : await item(id));
  showSearch();
}

async function suggest(signal) {
  const texts = next.hasPicture(state) ? await suggestions(state, signal).catch(() => []) : [];
  if (!signal.aborted)
    showSuggestions(
      texts.filter((text) => !state.texts.includes(text)),
      say,
    );
}

async function showDetail() {
  const id = state.item;
  if (!id) return closeDetail();
  try {
    const found = await item(id);
    const result = shown()?.results.find((one) => one.id === id);
    if (state.item === id) openDetail({...result, ...found}, best(), rateable());
  } catch (error) {
    failed(error);
  }
}

function say(text) {
  try {
    go(next.saying(state, text, page.composes_turns)).then(focusWords);
    scrollTo(0, 0);
  } catch (error) {
    showTrouble(error.message);
  }
}

function choose(result) {
  const replace = state.item !== null; // Back leads to the pictures, and not to the detail view
  if (rateable()) rate(state, result.id, "chosen").catch(() => {});
  pictures.set(result.id, result);
  go(next.startingFrom(state, {image: result.id}), {replace}).then(focusWords);
  announce(`Starting from ${nameOf(result)}`);
  scrollTo(0, 0);
}

async function take(file) {
  clearTrouble();
  announce("Sending your picture");
  try {
    const upload = await whileBusy(() => send(file), setWaiting);
    go(next.startingFrom(state, {upload})).then(focusWords);
    scrollTo(0, 0);
  } catch (error) {
    failed(error);
  }
}

function undo() {
  if (canGoBack()) history.back();
  else go(next.undone(state), {replace: true});
}

function closeItem() {
  if (canGoBack()) history.back();
  else go({...state, item: null}, {replace: true});
}

async function copyLink() {
  await navigator.clipboard.writeText(location.href).then(
    () => announce("The link is copied", true),
    () => showTrouble("The browser does not let this page copy. Copy the address instead."),
  );
}

function start() {
  showSkeletons();
  onBar({
    say,
    undo,
    copy: copyLink,
    dropPicture: () => go(next.withoutPicture(state)).then(focusWords),
    dropText: (place) => go(next.withoutText(state, place)).then(focusWords),
    showPicture: () => state.image && go({...state, item: state.image}),
    over: () => go(next.EMPTY).then(focusWords),
  });
  onTiles({choose, showMore, open: (result) => go({...state, item: result.id})});
  onFilters((wanted) => go({...state, ...wanted, item: null}));
  onDetail({close: closeItem, start: choose, asked: () => state, refuse: failed});
  onPictures(take, failed);
  addEventListener("popstate", async () => {
    await go(fromAddress(location.search), {from: "history"});
    if (document.activeElement === document.body) focusWords(); // the step that had the focus is gone
  });
  document.getElementById("skip").addEventListener("click", () => document.getElementById("results").focus());
  go(state, {from: "start"});
  about()
    .then((answer) => {
      page = answer;
      document.getElementById("count").textContent = `${page.images.toLocaleString()} pictures`;
    })
    .catch(failed);
  columns()
    .then((found) => {
      buildFilters(found);
      showFilters(state);
    })
    .catch(failed);
}

start();
