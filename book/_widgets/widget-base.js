// What the widgets of the book share: one way to start, and one look.
//
// A widget is a custom element. Inside it stand its data, in a script of type
// application/json, and what paper and browsers without scripts show instead:
// a table or a figure. Colours are the page's own, so both themes work.
(() => {
  if (globalThis.BertWidget) return;

  const LOOK = `
    :host { display: block; margin: 1rem 0;
      --ink: var(--pst-color-text-base,
        var(--jp-content-font-color1, CanvasText));
      --muted: var(--pst-color-text-muted, var(--ink));
      --ground: var(--pst-color-background, var(--jp-layout-color0, Canvas));
      --line: var(--pst-color-border, var(--jp-border-color1, GrayText));
      --focus: var(--pst-color-primary, var(--jp-brand-color1, Highlight));
      --mono: var(--pst-font-family-monospace,
        var(--jp-code-font-family, monospace));
      color: var(--ink); font-size: 1rem; line-height: 1.5; }
    * { box-sizing: border-box; }
    .live { padding: .75rem; border: 1px solid var(--line);
      border-radius: .4rem; background: var(--ground); }
    :host([plain]) .live { border: 0; padding: 0; }
    slot { display: none; }
    .bar { display: flex; flex-wrap: wrap; gap: .5rem 1rem;
      align-items: center; margin: 0 0 .6rem; }
    .bar label { display: inline-flex; gap: .4rem; align-items: center; }
    .scroll { overflow-x: auto; max-width: 100%; }
    .note { margin: .3rem 0; color: var(--muted); font-size: .9em; }
    .heading { margin: .9rem 0 .3rem; font-weight: 600; }
    p { margin: .3rem 0; }
    code, .token { font-family: var(--mono); font-size: .9em;
      background: none; color: inherit; }
    button, select, input, textarea { font: inherit; color: inherit;
      background: var(--ground); border: 1px solid var(--line);
      border-radius: .3rem; min-height: 2rem; padding: .15rem .6rem; }
    button { cursor: pointer; }
    button:disabled { cursor: default; color: var(--muted); }
    :focus-visible { outline: 3px solid var(--focus); outline-offset: 1px; }
    table { border-collapse: collapse; }
    th, td { text-align: start; font-weight: inherit; padding: .1rem .5rem; }
    caption { text-align: start; font-weight: 600; padding: .2rem 0; }
    .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden;
      clip-path: inset(50%); white-space: nowrap; }
    @media print { .live { display: none; } slot { display: block; } }`;

  // make("button", {type: "button"}, "Next"): an element with its contents.
  // Names with a hyphen, and role, are attributes; all others properties.
  function make(tag, given = {}, ...contents) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (name.includes("-") || name === "role")
        element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...contents);
    return element;
  }

  // A title that is no heading: a widget does not know how deep it stands.
  const heading = (text) => make("p", { className: "heading" }, text);

  // Arrow keys move the focus through a row or grid of buttons, of which
  // only one is a stop of the tab key.
  function moveWithArrows(buttons, columns = 1) {
    const steps = columns === 1
      ? { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }
      : { ArrowRight: 1, ArrowDown: columns,
        ArrowLeft: -1, ArrowUp: -columns };
    const last = buttons.length - 1;
    buttons.forEach((button, i) => {
      button.tabIndex = i === 0 ? 0 : -1;
      button.addEventListener("keydown", (event) => {
        const ends = { Home: 0, End: last };
        const to = ends[event.key] ?? i + (steps[event.key] ?? NaN);
        if (!(to >= 0 && to <= last)) return;
        buttons[to].focus();
        event.preventDefault();
        event.stopPropagation(); // the page turns its pages with arrows
      });
      button.addEventListener("focus", () => {
        for (const other of buttons)
          other.tabIndex = other === button ? 0 : -1;
      });
    });
  }

  // A canvas does not follow the style sheet: draw again when it changes.
  function drawWithTheme(draw) {
    draw();
    new MutationObserver(draw)
      .observe(document.documentElement, { attributes: true });
    matchMedia("(prefers-color-scheme: dark)")
      .addEventListener("change", draw);
  }

  class BertWidget extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot || this.started) return;
      this.started = true;
      const start = () => {
        const script = this.querySelector("script[type='application/json']");
        if (script) this.data = JSON.parse(script.textContent);
      };
      // The parser may not have reached the data yet.
      if (document.readyState !== "loading" || this.querySelector("script"))
        start();
      else
        addEventListener("DOMContentLoaded", start, { once: true });
    }

    // Setting the data builds the widget, or builds it anew.
    set data(data) {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      const style = make("style", {}, LOOK + (this.constructor.look ?? ""));
      this.live = make("div", { className: "live" });
      root.replaceChildren(style, this.live, make("slot"));
      this.build(data, this.live);
    }
  }

  Object.assign(BertWidget, { make, heading, moveWithArrows, drawWithTheme });
  globalThis.BertWidget = BertWidget;
})();
