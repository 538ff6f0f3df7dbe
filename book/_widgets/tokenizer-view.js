// <tokenizer-view>: type a text and see how it becomes ids, step by step.
//
// Data: that of wordpieceTokenizer, and `text` to begin with.
(() => {
  if (customElements.get("tokenizer-view")) return;
  const { make, heading, moveWithArrows } = BertWidget;

  const LOOK = `
    :host { --tint: var(--fig-token, var(--focus)); }
    .text { display: block; }
    .text input { display: block; width: 100%; margin-top: .2rem; }
    ol.steps { margin: .8rem 0 0; padding: 0; list-style: none;
      counter-reset: step; }
    ol.steps > li { margin: 0 0 .9rem; padding-inline-start: 2.2em;
      position: relative; counter-increment: step; }
    ol.steps > li::before { content: counter(step); position: absolute;
      inset-inline-start: 0; width: 1.6em; text-align: center;
      border: 1px solid var(--line); border-radius: 1em; font-size: .9em; }
    ol.steps .heading { margin: 0 0 .2rem; }
    .line { white-space: pre-wrap; overflow-wrap: anywhere; }
    .row { display: flex; flex-wrap: wrap; gap: .3rem; margin: 0;
      padding: 0; list-style: none; }
    .row > * { border: 1px solid var(--line); border-radius: .3rem;
      padding: .15rem .45rem; font-family: var(--mono); font-size: .9em;
      overflow-wrap: anywhere; }
    button[aria-disabled=true] { cursor: default; color: var(--muted); }
    .row button[aria-pressed=true] { outline: 2px solid var(--ink); }
    .ids li { text-align: center; border-bottom: 3px solid var(--tint); }
    .ids small { display: block; color: var(--muted); }
    .letters { display: flex; flex-wrap: wrap; gap: 2px; margin: .4rem 0; }
    .letters span { min-width: 1.5em; padding: .1rem .2rem;
      text-align: center; border: 1px solid var(--line);
      font-family: var(--mono); }
    .letters .tried { border-width: 2px; border-color: var(--ink);
      font-weight: 700; }
    .letters .done { border-bottom: 3px solid var(--tint);
      color: var(--muted); }
    .tries { margin: .3rem 0; padding: 0; list-style: none;
      max-height: 14em; overflow-y: auto; font-size: .9em; }
    .tries .found { font-weight: 700; }`;

  const point = (character) => "U+"
    + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");

  class TokenizerView extends BertWidget {
    static look = LOOK;

    build(data, live) {
      this.tokenizer = wordpieceTokenizer(data);
      this.chosen = null; // a word, by its place among all words
      this.input = make("input", {
        type: "text", value: data.text, autocomplete: "off",
        spellcheck: false, oninput: () => this.show(null),
      });
      live.append(
        make("label", { className: "text" }, "Your text", this.input),
        (this.steps = make("ol", { className: "steps" })),
        note(carried(this.tokenizer.words)));
      this.show(null);
    }

    // Everything follows from the text and from which word is chosen.
    show(chosen) {
      const parts = this.tokenizer.explain(this.input.value);
      const words = parts.flatMap((part) => part.words ?? []);
      const longest = words.reduce((best, { tries }, i) =>
        tries.length > (words[best]?.tries.length ?? 0) ? i : best, 0);
      this.chosen = chosen ?? longest;
      const plain = parts.filter((part) => !part.special);
      this.steps.replaceChildren(
        step("Special tokens are set aside", ...this.aside(parts)),
        step("Cleaning", ...this.cleaning(plain)),
        step("Chinese characters, accents, case",
          ...this.folding(plain)),
        step("Words and punctuation", this.words(words)),
        step("The longest piece that fits, again and again",
          ...this.search(words[this.chosen])),
        step("Ids", ...this.ids()));
    }

    aside(parts) {
      const names = parts.filter((part) => part.special)
        .map((part) => part.special);
      if (names.length === 0) return [note("None in this text.")];
      const text = parts.map((part) => part.special ?? part.text).join("|");
      return [line(text), note(`${names.join(" and ")} stays whole; the `
        + "rest goes through the next steps.")];
    }

    cleaning(plain) {
      const before = plain.map((part) => part.text).join("");
      const after = plain.map((part) => part.cleaned).join("");
      if (before === after) return [note("Nothing to remove.")];
      const kept = new Set(after);
      const odd = [...new Set(before)].filter((c) => !kept.has(c)).map(point);
      return [line(after), note(`Removed, or turned into a space: `
        + `${odd.join(", ")}.`)];
    }

    folding(plain) {
      const stages = [
        ["", "cleaned"],
        ["Each Chinese character stands alone.", "spaced"],
        ["Accents are gone.", "bare"],
        ["Lower case.", "folded"],
      ].map(([what, key]) =>
        [what, plain.map((part) => part[key]).join("|")]);
      const changed = stages.filter(([, text], i) =>
        i > 0 && text !== stages[i - 1][1]);
      if (changed.length === 0) return [note("No change.")];
      return changed.flatMap(([what, text]) => [line(text), note(what)]);
    }

    words(words) {
      const buttons = words.map(({ word }, i) => make("button", {
        type: "button", "aria-pressed": i === this.chosen,
        onclick: () => {
          this.show(i);
          this.live.querySelectorAll(".words button")[i].focus();
        },
      }, word));
      moveWithArrows(buttons);
      buttons.forEach((button, i) => {
        button.tabIndex = i === this.chosen ? 0 : -1;
      });
      return make("div", {
        className: "row words", role: "group",
        "aria-label": "Choose a word to search",
      }, ...buttons);
    }

    // --- the search, one try at a time ---------------------------------

    search(found) {
      if (!found) return [note("There is no word.")];
      if (found.tries.length === 0)
        return [note("The word is too long: [UNK], without a search.")];
      const shown = make("div", { role: "status" });
      const list = make("ol", {
        className: "tries", tabIndex: 0, role: "list",
        "aria-label": "Tries so far",
      });
      let at = found.tries.length; // how many tries are shown
      // At its end a button stays in place: a disabled one loses the focus.
      const go = (to) => {
        if (to < 1 || to > found.tries.length) return;
        at = to;
        back.ariaDisabled = at <= 1;
        next.ariaDisabled = at >= found.tries.length;
        shown.replaceChildren(...showTry(found, at));
        list.replaceChildren(...found.tries.slice(0, at).map(asLine));
        list.scrollTop = list.scrollHeight;
      };
      const button = (name, to) => make("button", {
        type: "button", onclick: () => go(to()),
      }, name);
      const first = button("From the start", () => 1);
      const back = button("Back", () => at - 1);
      const next = button("Next try", () => at + 1);
      go(at);
      const bar = make("div", { className: "bar" }, first, back, next);
      return [bar, shown, list];
    }

    ids() {
      const { tokens, ids } = this.tokenizer.encode(this.input.value);
      const items = tokens.map((token, i) =>
        make("li", {}, token, make("small", {}, String(ids[i]))));
      return [
        make("ol", { className: "row ids", role: "list" }, ...items),
        note(`${tokens.length} tokens, with one to open and one to close.`),
      ];
    }
  }

  function step(title, ...contents) {
    return make("li", {}, heading(title), ...contents);
  }

  const note = (text) => make("p", { className: "note" }, text);
  const line = (text) => make("code", { className: "line" }, text);

  function carried(words) {
    const size = new TextEncoder().encode(words.join("\n")).length;
    return `This page carries the vocabulary: `
      + `${words.length.toLocaleString("en")} pieces, `
      + `${Math.round(size / 1000)} kB.`;
  }

  function showTry({ word, tries, pieces }, at) {
    const { start, end, piece, found } = tries[at - 1];
    const letters = [...word].map((letter, i) => make("span", {
      className: i < start ? "done" : i < end ? "tried" : "",
    }, letter));
    const last = at === tries.length;
    let text = `Try ${at} of ${tries.length}: ${piece} is `
      + `${found ? "" : "not "}in the vocabulary.`;
    if (last && found) text += ` The word is ${pieces.join(" ")}.`;
    if (last && !found)
      text += ` Not even this letter is: the word is ${pieces[0]}.`;
    return [
      make("div", { className: "letters", "aria-hidden": true }, ...letters),
      make("p", {}, text),
    ];
  }

  function asLine({ piece, found }) {
    return make("li", { className: found ? "found" : "" },
      make("span", { className: "token" }, piece),
      found ? " is in the vocabulary" : " is not");
  }

  customElements.define("tokenizer-view", TokenizerView);
})();
