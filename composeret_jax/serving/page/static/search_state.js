// What is searched for: a picture or none, texts one after the other, filters. Functions give new values.

export const MAX_TEXTS = 8;

export const EMPTY = Object.freeze({image: null, upload: null, texts: [], filters: {}, balance: 0, item: null});

export const hasPicture = (state) => Boolean(state.image || state.upload);

export const isSearch = (state) => hasPicture(state) || state.texts.length > 0;

// A picture is a new start: what was said about another one does not apply to it.
export const startingFrom = (state, picture) => ({
  ...EMPTY,
  filters: state.filters,
  balance: state.balance,
  ...picture,
});

// Words without a picture take the place of earlier words; with one they are the next change of it.
export function saying(state, text, turns) {
  const texts = hasPicture(state) && turns ? [...state.texts, text] : [text];
  if (texts.length > MAX_TEXTS)
    throw new Error(`A search has at most ${MAX_TEXTS} texts. Undo one, or start from a result.`);
  return {...state, texts, item: null};
}

export const withoutText = (state, place) => ({...state, texts: state.texts.filter((_, i) => i !== place), item: null});

// What was said about a picture goes with it.
export const withoutPicture = (state) => ({...EMPTY, filters: state.filters});

// One step back, where the browser has no earlier view of this page: a link was opened.
export const undone = (state) =>
  state.texts.length ? withoutText(state, state.texts.length - 1) : withoutPicture(state);

// The state without the detail view, which does not change what is found.
export const query = ({item, ...rest}) => rest;
