// The parts of a model's weights: fetched once, then kept by the browser.
//
// const parts = weightParts(folder);
// await parts.get(file)  -> {text, kept}: kept says that it was here already
// await parts.forget()
//
// A part is a script that calls BertParts.receive(file, text), because a page
// that was opened from a disk may load scripts and nothing else. What came is
// kept in IndexedDB, which needs no server either. Folders are named after
// the weights, so another model's parts are never taken for these.
function weightParts(folder) {
  const STORE = "parts";
  let database = null; // null until opened, false where there is none

  const promised = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  async function open() {
    if (database !== null) return;
    try {
      const request = indexedDB.open("bert-book", 1);
      request.onupgradeneeded = () =>
        request.result.createObjectStore(STORE);
      database = await promised(request);
    } catch (error) {
      // A private window, or storage switched off: every visit loads anew.
      console.info("weights will not be kept:", error);
      database = false;
    }
  }

  const store = (mode) =>
    database.transaction(STORE, mode).objectStore(STORE);
  const key = (file) => `${folder}/${file}`;

  async function keep(file, content) {
    if (!database) return;
    try {
      await promised(store("readwrite").put(content, key(file)));
    } catch (error) {
      console.info("no room to keep the weights:", error); // a full disk
      database = false;
    }
  }

  function fetchScript(file) {
    const root = document.documentElement.dataset.content_root ?? "./";
    const parts = (globalThis.BertParts ??= {
      waiting: new Map(),
      receive(name, text) { this.waiting.get(name)(text); },
    });
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      parts.waiting.set(file, resolve);
      script.src = `${root}${folder}/${file}`;
      script.onerror = () => reject(Error(`${script.src} is not there`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
  }

  function bytesOf(base64) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes.buffer;
  }

  async function get(file, binary) {
    await open();
    if (database) {
      const content = await promised(store("readonly").get(key(file)));
      if (content !== undefined) return { content, kept: true };
    }
    const text = await fetchScript(file);
    const content = binary ? bytesOf(text) : text;
    await keep(file, content);
    return { content, kept: false };
  }

  async function forget() {
    await open();
    if (database) await promised(store("readwrite").clear());
  }

  return { get, forget, isKeeping: () => Boolean(database) };
}
