// <live-bert>: the model itself, in the page.
//
// Data: {name, instead (why another model than the book's is here, or null),
// folder, config, parts, rests, words, tokenizer, text,
// longest}; see bookkit.live, which writes it and the parts.
(() => {
  if (customElements.get("live-bert")) return;
  const { make, heading, drawWithTheme } = BertWidget;

  const LOOK = `
    :host { --more: var(--fig-attention, #b86a1c);
      --less: var(--fig-hidden, #3d8fc4); }
    form label { display: block; margin-bottom: .5rem; }
    form input { display: block; width: 100%; margin-top: .2rem; }
    progress { width: 100%; max-width: 24rem; accent-color: var(--focus); }
    .masks { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
    .masks td:nth-child(3) { text-align: end; white-space: nowrap; }
    .masks td, .layers td { font-variant-numeric: tabular-nums; }
    .masks i { display: block; width: 6rem; height: .8em; }
    .masks b { display: block; height: 100%; background: var(--more); }
    .layers { width: 100%; }
    .layers th, .layers td { padding: .1rem .4rem; }
    .layers thead th { font-weight: 600; white-space: normal; }
    .layers td.picture { width: 60%; padding: 1px 0; }
    canvas { display: block; width: 100%; min-width: 5rem; height: 2.2rem;
      color: var(--more); border-color: var(--less); }
    .error { border-top: 1px solid var(--line); margin-top: 1rem; }
    .error th { font-weight: 400; }`;

  const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  const sizeOf = (parts) =>
    parts.reduce((sum, part) => sum + part.bytes, 0);

  // --- where the model runs --------------------------------------------

  // Answers messages with an engine. It runs in a worker, or in the page
  // where a worker may not start; then it pauses between layers.
  function serve(makeEngine, send, pause) {
    let engine = null;
    const bestOf = (logits) => {
      let best = 0;
      logits.forEach((value, id) => { if (value > logits[best]) best = id; });
      return best;
    };
    const run = async ({ ids, segments, masks, fine }) => {
      const onLayer = (layer, state, attention) => {
        // What the head would say if the model ended here.
        const guess = masks.length && !fine
          ? bestOf(engine.predict(state, masks[0], fine)) : null;
        send({ kind: "layer", fine, layer, state, attention, guess });
      };
      const options = { fine, onLayer, pause };
      const { states } = await engine.run(ids, segments, options);
      const logits = masks.map((position) =>
        engine.predict(states.at(-1), position, fine));
      send({ kind: "done", fine, logits });
    };
    const actions = {
      create: ({ config }) => { engine = makeEngine(config); },
      load: ({ tensors, buffer }) => engine.load(tensors, buffer),
      refine: ({ tensors, buffer }) => engine.refine(tensors, buffer),
      run,
    };
    return async (message) => {
      try {
        await actions[message.kind](message);
      } catch (error) {
        send({ kind: "error", message: error.message });
      }
    };
  }

  function startInWorker(hear) {
    const source = `${bertEngine}
      const answer = (${serve})(bertEngine, (message) => postMessage(message));
      onmessage = (event) => answer(event.data);`;
    const blob = new Blob([source], { type: "text/javascript" });
    const worker = new Worker(URL.createObjectURL(blob));
    worker.onmessage = (event) => hear(event.data);
    worker.onerror = (event) =>
      hear({ kind: "error", message: event.message });
    return (message) =>
      worker.postMessage(message, message.buffer ? [message.buffer] : []);
  }

  function startInPage(hear) {
    const pause = () => new Promise((resolve) => setTimeout(resolve));
    return serve(bertEngine, hear, pause);
  }

  function start(hear) {
    try {
      return { send: startInWorker(hear), place: "in a worker" };
    } catch (error) {
      console.info("no worker, the page itself computes:", error);
      return { send: startInPage(hear), place: "in the page" };
    }
  }

  // --- the widget ------------------------------------------------------

  class LiveBert extends BertWidget {
    static look = LOOK;

    build(data, live) {
      this.given = data;
      this.parts = weightParts(data.folder);
      this.runs = {}; // what came out: coarse (int8) and fine
      this.ready = this.refined = false;
      if (data.instead)
        live.append(make("p", { className: "instead" }, data.instead));
      live.append(
        this.makeForm(),
        (this.status = make("p", { role: "status" })),
        (this.progress = make("progress", {
          hidden: true, "aria-label": "Loading",
        })),
        (this.results = make("div", { hidden: true })));
      this.say(`The model is ${megabytes(sizeOf(data.parts))} to load. It `
        + "runs on this device; nothing that you type is sent anywhere.");
    }

    say(text) { this.status.textContent = text; }

    makeForm() {
      const field = (name, value) => make("input", {
        type: "text", value, autocomplete: "off", spellcheck: false, name,
      });
      this.text = field("text", this.given.text);
      this.pair = field("pair", "");
      this.pair.setAttribute("aria-describedby", "second");
      this.button = make("button", { type: "submit" },
        `Load ${this.given.name} `
        + `(${megabytes(sizeOf(this.given.parts))}) and run it`);
      this.forget = make("button", {
        type: "button", hidden: true,
        onclick: () => this.attempt(async () => {
          await this.parts.forget();
          this.forget.hidden = true;
          this.say("The browser has forgotten the weights.");
        }),
      }, "Forget the weights");
      return make("form", {
        onsubmit: (event) => {
          event.preventDefault();
          this.attempt(() => this.answer());
        },
      },
      make("label", {}, "A sentence with [MASK] in it", this.text),
      make("label", {}, "A second sentence, if you like", this.pair),
      make("p", { className: "note", id: "second" }, "It becomes segment 1; "
        + "this page has no next-sentence head."),
      make("div", { className: "bar" }, this.button, this.forget));
    }

    // One thing at a time; what goes wrong is said.
    async attempt(action) {
      const pressed = this.shadowRoot.activeElement;
      const buttons = [this.button, this.measure].filter(Boolean);
      buttons.forEach((button) => { button.disabled = true; });
      try {
        await action();
      } catch (error) {
        this.say(`That did not work: ${error.message}.`);
      }
      this.progress.hidden = true;
      buttons.forEach((button) => { button.disabled = false; });
      // A button that was disabled or hidden has lost the focus.
      if (pressed && document.activeElement === document.body)
        (pressed.hidden ? this.button : pressed).focus();
    }

    // --- loading -------------------------------------------------------

    async fetchAll(parts, kind) {
      Object.assign(this.progress, { hidden: false, value: 0 });
      this.progress.max = sizeOf(parts);
      for (const { file, bytes, tensors } of parts) {
        const done = megabytes(this.progress.value);
        this.say(`Loading: ${done} of ${megabytes(this.progress.max)}.`);
        const { content } = await this.parts.get(file, true);
        this.send({ kind, tensors, buffer: content });
        this.progress.value += bytes;
      }
      this.forget.hidden = !this.parts.isKeeping();
    }

    async prepare() {
      if (this.ready) return;
      const { tokenizer, words, config, parts } = this.given;
      const vocab = (await this.parts.get(words.file, false)).content;
      this.tokenizer = wordpieceTokenizer({ ...tokenizer, vocab });
      Object.assign(this, start((message) => this.hear(message)));
      this.send({ kind: "create", config });
      await this.fetchAll(parts, "load");
      this.ready = true;
      this.button.textContent = "Run";
    }

    // --- running -------------------------------------------------------

    hear(message) {
      if (message.kind === "layer") this.onLayer(message);
      else if (message.kind === "done") this.finish(message);
      else this.fail(Error(message.message));
    }

    compute(fine) {
      const { ids, segments, masks } = this.input;
      this.runs[fine ? "fine" : "coarse"] = this.now =
        { states: [], attentions: [] };
      return new Promise((resolve, reject) => {
        this.finish = ({ logits }) => {
          this.now.logits = logits;
          resolve(this.now);
        };
        this.fail = reject;
        this.send({ kind: "run", ids, segments, masks, fine });
      });
    }

    onLayer({ fine, layer, state, attention, guess }) {
      this.now.states.push(state);
      if (attention) this.now.attentions.push(attention);
      if (!fine) this.addLayer(layer, guess);
    }

    encode() {
      const pair = this.pair.value.trim() || undefined;
      const input = this.tokenizer.encode(this.text.value, pair);
      const { longest } = this.given, count = input.tokens.length;
      if (count > longest)
        throw Error(`${count} tokens; the page takes at most ${longest}`);
      const mask = this.tokenizer.special.mask;
      input.masks = [];
      input.tokens.forEach((token, i) => {
        if (token === mask) input.masks.push(i);
      });
      return input;
    }

    async answer() {
      await this.prepare();
      this.input = this.encode();
      this.runs = {};
      this.layOut();
      this.say("Computing.");
      const began = performance.now();
      const { logits } = await this.compute(false);
      const seconds = ((performance.now() - began) / 1000).toFixed(2);
      const { tokens, masks } = this.input;
      this.say(`${tokens.length} tokens, ${seconds} s, ${this.place}. `
        + (masks.length ? "" : "Write [MASK] to have a word guessed."));
      this.showMasks(logits);
      this.showAttention();
      if (this.refined) await this.measureError();
    }

    // --- showing -------------------------------------------------------

    layOut() {
      this.masksBox = make("div", { className: "masks" });
      this.layerRows = make("tbody");
      this.maps = make("div");
      this.errorBox = make("div", { className: "error" });
      const { position, name } = this.watched();
      const column = (name) => make("th", { scope: "col" }, name);
      const layers = make("table", { className: "layers" },
        make("thead", {}, make("tr", {}, column("Layers passed"),
          column("Word"), column("Turned by"),
          column("The vectors, a line for each token"))),
        this.layerRows);
      this.results.replaceChildren(
        this.masksBox,
        heading("From layer to layer"),
        make("p", { className: "note" }, "0 is the embeddings. Word: "
          + "what the head would say if the model ended here. Turned by: "
          + "the angle between this vector and the one a layer earlier. "
          + `Both are those of ${name}, position ${position}.`),
        make("div", { className: "scroll", tabIndex: 0, role: "region",
          "aria-label": "From layer to layer" }, layers),
        heading("Where the heads look"), this.maps,
        this.errorBox);
      this.results.hidden = false;
      this.offerMeasure();
    }

    // The token whose way through the layers the table follows.
    watched() {
      const position = this.input.masks[0] ?? 0;
      return { position, name: this.input.tokens[position] };
    }

    addLayer(layer, guess) {
      const { states } = this.now, { hidden } = this.given.config;
      const { position } = this.watched();
      const vector = (state) =>
        state.subarray(position * hidden, (position + 1) * hidden);
      const turned = layer === 0 ? "" : `${Math.round(angle(
        vector(states[layer - 1]), vector(states[layer])))}°`;
      const canvas = make("canvas", {
        width: hidden, height: this.input.tokens.length,
        "aria-hidden": true,
      });
      this.layerRows.append(make("tr", {},
        make("th", { scope: "row" }, String(layer)),
        make("td", {}, guess === null ? "" : this.tokenizer.words[guess]),
        make("td", {}, turned),
        make("td", { className: "picture" }, canvas)));
      drawWithTheme(() => drawSigned(canvas, states[layer]));
    }

    showMasks(logits) {
      const lists = logits.map((values, i) => {
        const rows = ranked(values, 10).map(({ id, probability }, rank) => {
          const percent = `${(100 * probability).toFixed(1)} %`;
          return make("tr", {}, make("td", {}, String(rank + 1)),
            make("th", { scope: "row" }, this.tokenizer.words[id]),
            make("td", {}, percent),
            make("td", { "aria-hidden": true }, bar(probability)));
        });
        return make("table", {},
          make("caption", {},
            `For [MASK], position ${this.input.masks[i]}`),
          make("tbody", {}, ...rows));
      });
      this.masksBox.replaceChildren(...lists);
    }

    showAttention() {
      const { tokens, segments } = this.input;
      const { layers, heads } = this.given.config;
      const bytes = new Uint8Array(layers * heads * tokens.length ** 2);
      let at = 0;
      for (const attention of this.now.attentions)
        for (const weight of attention) bytes[at++] = Math.round(255 * weight);
      const view = make("attention-view");
      view.toggleAttribute("plain", true);
      this.maps.replaceChildren(view);
      view.data = { tokens, segments, layers, heads, weights: bytes };
    }

    // --- how far off int8 is -------------------------------------------

    offerMeasure() {
      const size = megabytes(sizeOf(this.given.rests));
      this.measure = make("button", {
        type: "button", hidden: this.refined,
        onclick: () => this.attempt(() => this.measureError()),
      }, `Load the rest of every weight (${size}) and measure`);
      this.errorRows = make("div", { role: "status" });
      this.errorTitle = heading("What int8 costs on this input");
      this.errorTitle.tabIndex = -1; // the button hands its focus on
      this.errorBox.replaceChildren(
        this.errorTitle,
        make("p", { className: "note" }, "Measured by computing again with "
          + "a second byte for each weight, 254 times finer."),
        this.measure, this.errorRows);
    }

    async measureError() {
      if (!this.refined) {
        this.errorTitle.focus(); // before its button is disabled and goes
        await this.fetchAll(this.given.rests, "refine");
        this.refined = true;
        this.measure.hidden = true;
      }
      this.say("Computing again, with the rest of every weight.");
      const coarse = this.runs.coarse;
      const fine = await this.compute(true);
      this.showError(coarse, fine);
      this.say("Measured: see the end of the results.");
    }

    showError(coarse, fine) {
      const rows = [["Largest difference of an attention weight",
        largestDifference(coarse.attentions, fine.attentions).toFixed(4)]];
      if (this.input.masks.length) {
        const [a, b] = [coarse, fine]
          .map(({ logits }) => ranked(logits[0], 10));
        const same = a.filter(({ id }, i) => id === b[i].id).length;
        const word = this.tokenizer.words[a[0].id];
        const before = b.find(({ id }) => id === a[0].id)?.probability;
        rows.unshift(
          ["Largest difference of a logit",
            largestDifference(coarse.logits, fine.logits).toFixed(4)],
          ["The same word at the same rank, of the first ten", String(same)],
          [`Probability of “${word}”, int8 and finer`,
            `${a[0].probability.toFixed(4)} and ${before?.toFixed(4)}`]);
      }
      this.errorRows.replaceChildren(make("table", {}, make("tbody", {},
        ...rows.map(([name, value]) => make("tr", {},
          make("th", { scope: "row" }, name), make("td", {}, value))))));
    }
  }

  // --- small sums ------------------------------------------------------

  function ranked(logits, count) {
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const total = logits.reduce((sum, x) => sum + Math.exp(x - largest), 0);
    return [...logits.keys()].sort((a, b) => logits[b] - logits[a])
      .slice(0, count).map((id) => (
        { id, probability: Math.exp(logits[id] - largest) / total }));
  }

  function bar(share) {
    const strip = make("b");
    strip.style.width = `${100 * share}%`;
    return make("i", {}, strip);
  }

  function largestDifference(some, others) {
    let largest = 0;
    some.forEach((values, k) => values.forEach((value, i) => {
      largest = Math.max(largest, Math.abs(value - others[k][i]));
    }));
    return largest;
  }

  function angle(a, b) {
    let ab = 0, aa = 0, bb = 0;
    a.forEach((value, i) => {
      ab += value * b[i]; aa += value * value; bb += b[i] * b[i];
    });
    const cosine = Math.min(1, ab / Math.sqrt(aa * bb));
    return (Math.acos(cosine) * 180) / Math.PI;
  }

  // One colour above zero, another below; full at two standard deviations.
  function drawSigned(canvas, values) {
    if (!canvas.isConnected) return; // the page has let it go
    const style = getComputedStyle(canvas);
    const [more, less] = [style.color, style.borderTopColor]
      .map((color) => color.match(/[\d.]+/g).map(Number).slice(0, 3));
    let square = 0;
    for (const value of values) square += value * value;
    const full = 2 * Math.sqrt(square / values.length);
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    values.forEach((value, i) => {
      const strength = Math.min(255, (255 * Math.abs(value)) / full);
      image.data.set([...(value > 0 ? more : less), strength], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }

  customElements.define("live-bert", LiveBert);
})();
