// <trace-view>: follow one number back through the model.
//
// Data: {starts: [{name, step}], kinds, steps: {name: step}}. A step is
// {kind, short, title, value, parts, rest, error, next}: parts are [label,
// value, name of the step behind it or null], rest is the sum of those too
// small to list, next is the same number one operation earlier. A kind has
// {equation, section: {text, href}}. Python has done the sums.
(() => {
  if (customElements.get("trace-view")) return;
  const { make } = BertWidget;

  const LOOK = `
    :host { --more: var(--fig-attention, #b86a1c);
      --less: var(--fig-hidden, #3d8fc4); }
    .path { display: flex; flex-wrap: wrap; gap: .3rem; margin: 0 0 .6rem;
      padding: 0; list-style: none; }
    .path li + li::before { content: "← "; color: var(--muted); }
    .path button[aria-current] { font-weight: 700; border-color: var(--ink); }
    .parts { width: 100%; font-variant-numeric: tabular-nums; }
    .parts th, .parts td { padding: .1rem .4rem; vertical-align: middle; }
    .parts th button { text-align: start; width: 100%; }
    .parts td:nth-child(2) { text-align: end; white-space: nowrap; }
    .parts td.bars { width: 40%; min-width: 5rem; padding: 0; }
    .bars i { display: block; height: 1.1em; position: relative; }
    .bars b { position: absolute; top: 0; bottom: 0;
      background: var(--more); }
    .bars b.less { background: repeating-linear-gradient(45deg,
      var(--less) 0 4px, transparent 4px 6px); border: 1px solid var(--less); }
    .bars i::after { content: ""; position: absolute; left: 50%; top: -2px;
      bottom: -2px; border-left: 1px solid var(--muted); }
    @media (max-width: 30em) { .parts { font-size: .9em; }
      .parts td.bars { width: 22%; min-width: 3rem; } }
    tfoot { border-top: 1px solid var(--line); }
    tfoot tr.sum { font-weight: 700; }
    .equation { font-style: italic; font-family: var(--fig-serif, serif);
      font-size: 1.1em; overflow-wrap: anywhere; }
    a { color: var(--pst-color-link, inherit); }`;

  const number = (value) => (value < 0 ? "−" : "")
    + Math.abs(value).toFixed(4);

  class TraceView extends BertWidget {
    static look = LOOK;

    build(data, live) {
      Object.assign(this, { steps: data.steps, kinds: data.kinds });
      const options = data.starts.map(({ name, step }) =>
        make("option", { value: step }, name));
      const select = make("select", {
        onchange: () => this.go([select.value]),
      }, ...options);
      const label = make("label", {}, "Follow the logit of", select);
      live.append(
        make("div", { className: "bar" }, label),
        (this.path = make("ol", {
          className: "path", role: "list", "aria-label": "The way back",
        })),
        (this.shown = make("div")));
      this.go([data.starts[0].step]);
    }

    // `names` is the way from the logit to the step that is shown.
    go(names, focus = false) {
      this.names = names;
      const last = names.length - 1;
      const stops = names.map((name, i) => {
        const button = make("button", {
          type: "button", onclick: () => this.go(names.slice(0, i + 1), true),
        }, this.steps[name].short);
        if (i === last) button.setAttribute("aria-current", "step");
        return make("li", {}, button);
      });
      this.path.replaceChildren(...stops);
      this.showStep(this.steps[names[last]]);
      if (focus) stops[last].firstChild.focus();
    }

    showStep(step) {
      const equation = make("p", { className: "equation" });
      const { equation: html, section } = this.kinds[step.kind];
      equation.innerHTML = html; // Python wrote it, not a reader
      const source = make("p", { className: "note" }, "Where it is made: ",
        make("a", { href: section.href }, section.text));
      const title = `${step.title} = ${number(step.value)}`;
      this.shown.replaceChildren(
        make("p", { role: "status" }, title), equation, this.table(step),
        ...this.earlier(step), source);
    }

    // The same number, as one operation earlier saw it.
    earlier({ next }) {
      if (!next) return [];
      const { title } = this.steps[next];
      return [make("p", {}, make("button", {
        type: "button", className: "earlier",
        onclick: () => this.go([...this.names, next], true),
      }, `Go back: ${title} `, make("span", { "aria-hidden": true }, "›")))];
    }

    table({ parts, rest, value, error }) {
      const all = rest ? [...parts, rest] : parts;
      const largest = Math.max(...all.map((part) => Math.abs(part[1])));
      const row = ([label, amount, behind]) => {
        const go = () => this.go([...this.names, behind], true);
        const name = behind
          ? make("button", { type: "button", onclick: go }, `${label} `,
            make("span", { "aria-hidden": true }, "›"))
          : label;
        return make("tr", {}, make("th", { scope: "row" }, name),
          make("td", {}, number(amount)), bar(amount / largest));
      };
      const sum = make("tr", { className: "sum" },
        make("th", { scope: "row" }, "Sum"), make("td", {}, number(value)),
        make("td", {}, `error ${error && error.toExponential(0)}`));
      return make("div", { className: "scroll" },
        make("table", { className: "parts" },
          make("caption", {}, "Its parts, largest first"),
          make("tbody", {}, ...all.map(row)),
          make("tfoot", {}, sum)));
    }
  }

  // Right of the middle adds, left of it (and hatched) takes away.
  function bar(share) {
    const strip = make("b", { className: share < 0 ? "less" : "" });
    const width = 50 * Math.abs(share);
    strip.style.left = `${share < 0 ? 50 - width : 50}%`;
    strip.style.width = `${width}%`;
    return make("td", { className: "bars", "aria-hidden": true },
      make("i", {}, strip));
  }

  customElements.define("trace-view", TraceView);
})();
