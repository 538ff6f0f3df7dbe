// The package's tokenizer again, in JavaScript: the same ids for every text.
//
// const tokenizer = wordpieceTokenizer(data);
// tokenizer.encode("When in Rome", "do")  -> {tokens, ids, segments}
// tokenizer.explain("When in Rome")  -> each step, for the page that shows it
//
// A browser knows some Unicode version, the package has pinned another. So
// nothing here asks the browser about a character: `data`, which Python wrote,
// says of every code point what it is and what it turns into.
function wordpieceTokenizer(data) {
  const { flags, maxCharacters, special } = data;
  const words = data.vocab.split("\n");
  const idOf = new Map(words.map((word, id) => [word, id]));
  const isDropped = inRanges(data.unicode.dropped);
  const isSpace = inRanges(data.unicode.spaces);
  const isIdeograph = inRanges(data.unicode.ideographs);
  const isMark = inRanges(data.unicode.marks);
  const isPunctuation = inRanges(data.unicode.punctuation);
  const decompositionOf = readChanges(data.unicode.decompositions);
  const lowerOf = readChanges(data.unicode.lower);
  const orderOf = readOrders(data.unicode.orders);

  // --- the tables ------------------------------------------------------

  // The steps between the edges of spans: after an odd number of edges a
  // code point is inside.
  function inRanges(steps) {
    const edges = [];
    let at = 0;
    for (const step of steps) edges.push((at += step));
    return (point) => {
      let low = 0, high = edges.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (edges[middle] <= point) low = middle + 1;
        else high = middle;
      }
      return low % 2 === 1;
    };
  }

  // Runs [gap, count, step, target]: character k of a run stands k * step
  // after its first and becomes the one k * step after the target. A string
  // as target is what one character becomes.
  function readChanges(runs) {
    const changes = new Map();
    let first = 0;
    for (const [gap, count, step, target] of runs) {
      first += gap;
      for (let k = 0; k < count; k++)
        changes.set(first + k * step, typeof target === "string"
          ? target : String.fromCodePoint(target + k * step));
    }
    return changes;
  }

  function readOrders(runs) {
    const orders = new Map();
    let point = 0;
    for (const [gap, count, order] of runs) {
      point += gap;
      for (let k = 0; k < count; k++) orders.set(point++, order);
    }
    return orders;
  }

  // A Korean syllable is three numbers in one (Unicode 15.0, section 3.12):
  // which lead, which vowel, which tail or none.
  function jamo(point) {
    const index = point - 0xac00;
    if (index < 0 || index >= 11172) return null;
    const tail = index % 28;
    return String.fromCodePoint(
      0x1100 + Math.floor(index / 588),
      0x1161 + Math.floor((index % 588) / 28),
      ...(tail ? [0x11a7 + tail] : []));
  }

  // --- from text to words ----------------------------------------------

  // [MASK] and its like are found first, as they stand, and are kept whole.
  function splitAtSpecial(text) {
    const parts = [];
    let from = 0;
    for (let at = 0; at < text.length;) {
      const found = special.all.find((name) => text.startsWith(name, at));
      if (!found) { at += 1; continue; }
      if (at > from) parts.push({ text: text.slice(from, at) });
      parts.push({ special: found });
      from = at += found.length;
    }
    if (from < text.length) parts.push({ text: text.slice(from) });
    return parts;
  }

  function mapCharacters(text, change) {
    let out = "";
    for (const character of text) // a loop over code points, not halves
      out += change(character, character.codePointAt(0));
    return out;
  }

  function clean(text) {
    return mapCharacters(text, (character, point) =>
      isDropped(point) ? "" : isSpace(point) ? " " : character);
  }

  function spaceIdeographs(text) {
    if (!flags.ideographs) return text;
    return mapCharacters(text, (character, point) =>
      isIdeograph(point) ? ` ${character} ` : character);
  }

  // A letter with its accents becomes the bare letter.
  function removeAccents(text) {
    if (!flags.accents) return text;
    const decomposed = mapCharacters(text, (character, point) =>
      decompositionOf.get(point) ?? jamo(point) ?? character);
    return mapCharacters(orderMarks(decomposed), (character, point) =>
      isMark(point) ? "" : character);
  }

  function lower(text) {
    if (!flags.lower) return text;
    return mapCharacters(text, (character, point) =>
      lowerOf.get(point) ?? character);
  }

  // Decomposing puts the marks behind a letter in Unicode's own order.
  function orderMarks(text) {
    const out = [], marks = [];
    const flush = () => {
      marks.sort((a, b) => a.order - b.order); // a stable sort
      out.push(...marks.splice(0).map(({ character }) => character));
    };
    for (const character of text) {
      const order = orderOf.get(character.codePointAt(0));
      if (order) { marks.push({ character, order }); continue; }
      flush();
      out.push(character);
    }
    flush();
    return out.join("");
  }

  // Cut at blanks, which go (cleaning left no other space), and around
  // punctuation, which stays.
  function splitWords(text) {
    const found = [];
    let word = "";
    const close = () => { if (word) found.push(word); word = ""; };
    for (const character of text) {
      const point = character.codePointAt(0);
      if (character === " ") close();
      else if (isPunctuation(point)) { close(); found.push(character); }
      else word += character;
    }
    close();
    return found;
  }

  // --- from a word to pieces -------------------------------------------

  // The longest piece of the vocabulary that the rest of the word begins
  // with, again and again. Every try is kept, for the page that shows them.
  function search(word) {
    const characters = [...word], tries = [], pieces = [];
    const unknown = () => ({ tries, pieces: [special.unknown] });
    const tryPiece = (start, end) => {
      const letters = characters.slice(start, end).join("");
      const piece = (start ? "##" : "") + letters, found = idOf.has(piece);
      tries.push({ start, end, piece, found });
      if (found) pieces.push(piece);
      return found;
    };
    if (characters.length > maxCharacters) return unknown();
    for (let start = 0, end; start < characters.length; start = end) {
      end = characters.length;
      while (end > start && !tryPiece(start, end)) end -= 1;
      if (end === start) return unknown();
    }
    return { tries, pieces };
  }

  // --- all of it -------------------------------------------------------

  function explain(text) {
    return splitAtSpecial(text).map((part) => {
      if (part.special) return part;
      const cleaned = clean(part.text), spaced = spaceIdeographs(cleaned);
      const bare = removeAccents(spaced), folded = lower(bare);
      const found = splitWords(folded).map((word) =>
        ({ word, ...search(word) }));
      return { text: part.text, cleaned, spaced, bare, folded, words: found };
    });
  }

  function tokenize(text) {
    return explain(text).flatMap((part) =>
      part.special ?? part.words.flatMap(({ pieces }) => pieces));
  }

  function encode(text, pair) {
    const first = [special.start, ...tokenize(text), special.end];
    const second = pair === undefined ? [] : [...tokenize(pair), special.end];
    const tokens = [...first, ...second];
    return {
      tokens,
      ids: tokens.map((token) => idOf.get(token)),
      segments: tokens.map((_, i) => (i < first.length ? 0 : 1)),
    };
  }

  return { special, words, idOf, explain, tokenize, encode };
}
