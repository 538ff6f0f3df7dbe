// <attention-view>: where every head of every layer looks.
//
// Data: {tokens, segments, layers, heads, weights, layer, head}; `weights` are
// the bytes (0 to 255 for 0 to 1) of [layers, heads, seq, seq], as a string in
// base64 or as a Uint8Array.
(() => {
  if (customElements.get("attention-view")) return;
  const { make, moveWithArrows, drawWithTheme } = BertWidget;

  const LOOK = `
    :host { --tint: var(--fig-attention, #b86a1c); }
    .both { display: flex; flex-wrap: wrap; gap: .5rem 2rem;
      align-items: start; }
    .both > * { max-width: 100%; }
    .maps { --map: 26px; display: grid; gap: 1px;
      grid-template-columns: auto repeat(var(--heads), var(--map));
      width: max-content; padding: 3px; align-items: center;
      font-size: .7em; color: var(--muted); }
    .maps span { text-align: center; min-width: 1.3em; }
    .maps button { min-height: 0; padding: 0; border-radius: 2px;
      width: var(--map); height: var(--map); color: var(--tint); }
    @media (max-width: 30em) { .live { padding: .4rem; }
      .maps { --map: 24px; } .large td { --cell: 20px; } }
    .maps button[aria-pressed=true] { outline: 3px solid var(--ink); }
    .maps button.pinned { outline: 3px dashed var(--ink); }
    canvas { display: block; width: 100%; height: 100%;
      image-rendering: pixelated; }
    .large { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
    .large table { border-spacing: 0; border-collapse: separate; }
    .large th, .large td { padding: 0; }
    .large thead th { vertical-align: bottom; font: .8em var(--mono); }
    .large thead th span { writing-mode: vertical-rl;
      transform: rotate(180deg); max-height: 8em; padding: .2rem 0; }
    .large td { position: relative; min-width: var(--cell, 22px); height: 24px;
      border: 1px solid var(--ground); }
    .large tbody td { background: color-mix(in srgb, var(--tint)
      calc(var(--shade) * 100%), var(--ground)); }
    .large th button { font: .8em var(--mono); min-height: 24px; width: 100%;
      padding: 0 .3rem; text-align: end; border-color: transparent;
      white-space: nowrap; }
    .large th button[aria-pressed=true] { border-color: var(--ink);
      font-weight: 700; }
    tr.chosen td { border-top-color: var(--ink);
      border-bottom-color: var(--ink); }
    .second { border-inline-start: 2px dashed var(--muted) !important; }
    tr.second > * { border-top: 2px dashed var(--muted) !important; }
    .legend { display: flex; align-items: center; gap: .2rem .8rem;
      flex-wrap: wrap; }
    .legend i { display: inline-block; width: 1.1em; height: 1.1em;
      border: 1px solid var(--line); margin-inline-end: .3em;
      vertical-align: -.2em; background: color-mix(in srgb, var(--tint)
        calc(var(--shade) * 100%), var(--ground)); }
    .looks { min-height: 3.2em; }`;

  // The eye needs help with small weights: a colour's strength is the root.
  const shade = (weight) => Math.sqrt(weight);

  const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  class AttentionView extends BertWidget {
    static look = LOOK;

    build(data, live) {
      const { tokens, layers, heads, weights } = data;
      Object.assign(this, { tokens, layers, heads });
      this.bytes = typeof weights === "string" ? decode(weights) : weights;
      this.segments = data.segments ?? tokens.map(() => 0);
      this.border = this.segments.indexOf(1); // -1: one sentence only
      this.at = { layer: data.layer ?? 0, head: data.head ?? 0 };
      this.pinned = null;
      this.word = Math.max(0, tokens.indexOf("[MASK]"));
      live.append(
        this.makeControls(),
        make("div", { className: "both" },
          make("div", { className: "scroll" }, this.makeMaps()),
          (this.large = make("div", { className: "large" }))),
        (this.looks = make("div", {
          className: "looks", role: "status",
        })),
        makeLegend());
      this.showHead();
      drawWithTheme(() => this.drawMaps());
    }

    weight({ layer, head }, from, to) {
      const n = this.tokens.length;
      return this.bytes[((layer * this.heads + head) * n + from) * n + to]
        / 255;
    }

    // --- choosing a head -----------------------------------------------

    makeControls() {
      const choice = (name, count) => {
        const options = Array.from({ length: count }, (_, i) =>
          make("option", { value: i }, String(i)));
        const select = make("select", {
          onchange: () => this.choose({ [name]: Number(select.value) }),
        }, ...options);
        this[`${name}Select`] = select;
        const title = name[0].toUpperCase() + name.slice(1);
        return make("label", {}, title, select);
      };
      this.pin = make("button", {
        type: "button",
        onclick: () => {
          this.pinned = this.pinned ? null : { ...this.at };
          this.showHead();
        },
      });
      return make("div", { className: "bar" },
        choice("layer", this.layers), choice("head", this.heads), this.pin);
    }

    makeMaps() {
      const maps = make("div", {
        className: "maps", role: "group",
        "aria-label": "All heads: a row for each layer",
      });
      maps.style.setProperty("--heads", this.heads);
      const label = (text) => make("span", { "aria-hidden": true }, text);
      maps.append(label(""));
      for (let head = 0; head < this.heads; head++)
        maps.append(label(String(head)));
      this.buttons = [];
      for (let layer = 0; layer < this.layers; layer++) {
        maps.append(label(String(layer)));
        for (let head = 0; head < this.heads; head++)
          maps.append(this.makeMap(layer, head));
      }
      moveWithArrows(this.buttons, this.heads);
      return maps;
    }

    makeMap(layer, head) {
      const n = this.tokens.length;
      const name = `Layer ${layer}, head ${head}`;
      const button = make("button", {
        type: "button", title: name, "aria-label": name,
        onclick: () => this.choose({ layer, head }),
      }, make("canvas", { width: n, height: n }));
      this.buttons.push(button);
      return button;
    }

    choose(change) {
      Object.assign(this.at, change);
      this.showHead();
    }

    // --- drawing -------------------------------------------------------

    drawMaps() {
      if (!this.isConnected) return; // the page has let it go
      const color = getComputedStyle(this.buttons[0]).color;
      const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
      const size = this.tokens.length ** 2;
      this.buttons.forEach((button, index) => {
        const context = button.firstChild.getContext("2d");
        const n = this.tokens.length, image = context.createImageData(n, n);
        for (let i = 0; i < size; i++) {
          const weight = this.bytes[index * size + i] / 255;
          image.data.set([red, green, blue, 255 * shade(weight)], 4 * i);
        }
        context.putImageData(image, 0, 0);
      });
    }

    showHead() {
      const { layer, head } = this.at;
      this.layerSelect.value = layer;
      this.headSelect.value = head;
      this.pin.textContent = this.pinned ? "Unpin" : "Pin, to compare";
      const index = ({ layer, head }) => layer * this.heads + head;
      this.buttons.forEach((button, i) => {
        button.setAttribute("aria-pressed", i === index(this.at));
        const pinned = this.pinned && i === index(this.pinned);
        button.classList.toggle("pinned", Boolean(pinned));
      });
      this.shown = this.pinned ? [this.pinned, this.at] : [this.at];
      const tables = this.shown.map((place) => this.makeLarge(place));
      this.large.replaceChildren(...tables.map(({ box }) => box));
      this.rows = tables.map(({ rows }) => rows);
      this.showWord(this.word);
    }

    title(place) {
      const { layer, head } = place;
      const pinned = this.pinned === place ? " (pinned)" : "";
      return `Layer ${layer}, head ${head}${pinned}`;
    }

    makeLarge(place) {
      const second = (i) => (i === this.border ? "second" : "");
      const heads = this.tokens.map((token, to) =>
        make("th", { scope: "col", className: second(to) },
          make("span", {}, token)));
      const rows = this.tokens.map((token, from) =>
        this.makeRow(place, from, second));
      moveWithArrows(rows.map((row) => row.querySelector("button")));
      const table = make("table", {},
        make("caption", {}, this.title(place)),
        make("thead", {}, make("tr", {}, make("td"), ...heads)),
        make("tbody", {}, ...rows));
      return { box: make("div", { className: "scroll" }, table), rows };
    }

    makeRow(place, from, second) {
      const choose = () => this.showWord(from);
      const button = make("button", {
        type: "button", onclick: choose, onfocus: choose,
      }, this.tokens[from]);
      const cells = this.tokens.map((_, to) => {
        const weight = this.weight(place, from, to);
        const cell = make("td", {
          className: second(to),
          title: `${this.tokens[from]} to ${this.tokens[to]}: `
            + weight.toFixed(2),
        }, make("span", { className: "unseen" }, weight.toFixed(2)));
        cell.style.setProperty("--shade", shade(weight).toFixed(3));
        return cell;
      });
      return make("tr", { onpointerenter: choose, className: second(from) },
        make("th", { scope: "row" }, button), ...cells);
    }

    // --- one word ------------------------------------------------------

    showWord(from) {
      this.word = from;
      for (const rows of this.rows) {
        rows.forEach((row, i) => {
          row.classList.toggle("chosen", i === from);
          const button = row.querySelector("button");
          button.setAttribute("aria-pressed", i === from);
          button.tabIndex = i === from ? 0 : -1;
        });
      }
      this.looks.replaceChildren(...this.shown.map((place) =>
        make("p", {}, this.describe(place, from))));
    }

    describe(place, from) {
      const weights = this.tokens.map((token, to) =>
        [token, this.weight(place, from, to)]);
      const most = [...weights].sort((a, b) => b[1] - a[1]).slice(0, 4)
        .filter(([, weight]) => weight >= 0.005)
        .map(([token, weight]) => `${token} ${weight.toFixed(2)}`);
      let text = `${this.title(place)}: ${this.tokens[from]} looks at `
        + `${most.join(", ")}.`;
      if (this.border < 0) return text;
      let own = 0;
      weights.forEach(([, weight], to) => {
        if (this.segments[to] === this.segments[from]) own += weight;
      });
      const rest = Math.max(0, 1 - own);
      return `${text} In its own sentence ${Math.min(1, own).toFixed(2)}, `
        + `in the other ${rest.toFixed(2)}.`;
    }
  }

  function makeLegend() {
    const steps = [0, 0.05, 0.2, 0.5, 1].map((weight) => {
      const swatch = make("i");
      swatch.style.setProperty("--shade", shade(weight));
      return make("span", {}, swatch, String(weight));
    });
    return make("p", { className: "note legend" },
      make("span", {}, "Weight:"), ...steps,
      make("span", {}, "A row adds up to 1. In the small maps, as in the "
        + "large one, a row is a token that looks."));
  }

  customElements.define("attention-view", AttentionView);
})();
