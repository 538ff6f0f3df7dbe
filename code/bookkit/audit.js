// What the audit asks of a page. It is loaded before the page's own scripts.
globalThis.Audit = (() => {
  let shift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });

  const frame = () => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
  });
  const all = (selector) => [...document.querySelectorAll(selector)];
  const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 70);
  const name = (element) => [
    element.tagName.toLowerCase() + (element.id ? `#${element.id}` : ""),
    ...[...element.classList].slice(0, 3)].join(".");

  const settled = async () => {
    await document.fonts.ready;
    await frame();
  };

  const facts = () => ({
    shift,
    resources: performance.getEntriesByType("resource").map((e) => e.name),
    rawFormulas: all(".math")
      .filter((e) => e.textContent.trim() && !e.querySelector(".katex"))
      .map((e) => short(e.textContent)),
    badFormulas: all(".katex-error").map((e) => short(e.textContent)),
    uncopied: all("article div.highlight > pre")
      .filter((e) => !e.closest(".cell_output, .output"))
      .filter((e) => !e.parentElement.querySelector("button.copybtn"))
      .map((e) => short(e.textContent)),
    marks: all("article .cell_input pre")
      .filter((e) => /^#\|/m.test(e.textContent))
      .map((e) => short(e.textContent)),
    cells: all("article div.cell").length,
    notebooks: all('a[href$=".ipynb"]:not([href^="http"])').length,
  });

  // Everything that is folded or in a menu is opened; colours are judged at
  // rest, not half faded in.
  const open = async () => {
    const still = document.createElement("style");
    still.textContent = "*, *::before, *::after " +
      "{ transition: none !important; animation: none !important; }";
    document.head.append(still);
    all("details").forEach((part) => { part.open = true; });
    all(".toggle-hidden button.toggle-button").forEach((b) => b.click());
    all(".dropdown-menu").forEach((menu) => menu.classList.add("show"));
    await frame();
  };

  // axe spends most of its time on every token of code and every part of a
  // formula. Of each kind in each surrounding three stay; the others become
  // plain text. A picture's inside is no text at all.
  const thin = () => {
    const seen = new Map();
    const keepThree = (selector, shrink) => {
      for (const element of all(selector)) {
        const box = element.closest(
          ".cell_output, .admonition, .sd-card, details, aside, td");
        const kind = `${element.className}|${box ? box.className : ""}`;
        const count = (seen.get(kind) || 0) + 1;
        seen.set(kind, count);
        if (count > 3) shrink(element);
      }
    };
    keepThree(".katex", (formula) => formula.replaceChildren("x"));
    keepThree("div.highlight pre span[class]", (token) => {
      if (!token.children.length) token.replaceWith(token.textContent);
    });
    all("svg[role=img]").forEach((picture) => picture.replaceChildren());
  };

  // Within a box that scrolls, or is cut on purpose inside the screen.
  const held = (element, width) => {
    for (let box = element; box && box !== document.body;
      box = box.parentElement) {
      const flow = getComputedStyle(box).overflowX;
      const scrolls = flow === "auto" || flow === "scroll";
      if (scrolls && box.scrollWidth > box.clientWidth) return true;
      if (flow === "hidden" && box !== element &&
        box.getBoundingClientRect().right <= width + 1) return true;
    }
    return false;
  };

  const overflow = () => {
    const width = document.documentElement.clientWidth;
    const by = document.scrollingElement.scrollWidth - width;
    const found = [];
    if (by > 1) found.push(`the page scrolls sideways by ${by} px`);
    for (const e of all("article *")) {
      if (e.closest(".visually-hidden")) continue;
      if (e.parentElement.closest(".katex, svg")) continue;
      const box = e.getBoundingClientRect();
      const seen = box.width && box.height &&
        getComputedStyle(e).visibility !== "hidden";
      if (seen && box.right > width + 1 && !held(e, width)) {
        found.push(`cut off at the right edge: ${name(e)}`);
      }
      if (e.clientWidth <= 2 || e.scrollWidth <= e.clientWidth + 2) continue;
      const flow = getComputedStyle(e).overflowX;
      const what = `${name(e)}: ${short(e.textContent)}`;
      if (flow === "hidden" || flow === "clip") {
        found.push(`cut off, and cannot be scrolled: ${what}`);
      } else if (flow === "auto" || flow === "scroll") {
        const was = e.scrollLeft;
        e.scrollLeft = -1e6;
        // Below zero only where the content runs over the left edge.
        if (e.scrollLeft < 0) found.push(`begins out of sight: ${what}`);
        e.scrollLeft = was;
      }
    }
    return found.slice(0, 8);
  };

  const SWITCHES = {
    "article summary": 3,
    "article button.toggle-button": 3,
    "article button.copybtn": 1,
    "article [role=tab][aria-selected=false]": 2,
  };

  // What a reader opens by keyboard; a few of each kind on a page.
  const switches = () => {
    const list = [];
    for (const [selector, most] of Object.entries(SWITCHES)) {
      const shown = all(selector).filter((e) => e.getClientRects().length);
      for (const element of shown.slice(0, most)) {
        element.dataset.audit = list.length;
        list.push({ what: name(element), stop: element.tabIndex >= 0 });
      }
    }
    return list;
  };

  const state = (index) => {
    const element = document.querySelector(`[data-audit="${index}"]`);
    const details = element.closest("details");
    return [details && details.open, ...[
      "aria-expanded", "aria-selected", "class", "data-tooltip",
    ].map((attribute) => element.getAttribute(attribute))].join("|");
  };

  const runAxe = async (options, within) => {
    const result = await axe.run(within || document, {
      // Otherwise axe fetches every style sheet again.
      preload: false, resultTypes: ["violations", "incomplete"], ...options });
    const broken = result.violations.flatMap((rule) => rule.nodes.map((n) =>
      `${rule.id}: ${n.target.flat().join(" ")}: ${short(
        [...n.any, ...n.all, ...n.none].map((c) => c.message).join(" "))}`));
    // Text in the colour of its own ground: axe leaves it undecided.
    const invisible = result.incomplete
      .filter((rule) => rule.id === "color-contrast")
      .flatMap((rule) => rule.nodes)
      .filter((n) => n.any.some(
        (c) => c.data && c.data.messageKey === "equalRatio"))
      .map((n) => `invisible text: ${n.target.flat().join(" ")}`);
    return [...broken, ...invisible];
  };

  // The terms that the book's own search does not find.
  const unfound = (terms) => terms.filter((term) => {
    const query = Search._parseQuery(term);
    return Search._performSearch(...query).length === 0;
  });

  return { settled, facts, open, thin, overflow, switches, state, runAxe,
    unfound };
})();
