// BERT's forward pass in plain JavaScript: no library and no network.
//
// const engine = bertEngine({hidden, layers, heads, epsilon});
// engine.load(tensors, buffer)            the int8 weights of one part
// engine.refine(tensors, buffer)          a second int8 number for each weight
// await engine.run(ids, segments, {fine, onLayer, pause})
// engine.predict(state, position, fine)   the logits of the whole vocabulary
//
// A weight has the package's name: layers.0.attention.query.weight.
// Everything stands inside one function, because the live page sends its text
// to a worker: a worker that starts from a file cannot load other files.
function bertEngine(config) {
  const { hidden, layers, heads, epsilon } = config;
  const width = hidden / heads; // of one head
  const weights = new Map();

  // --- weights ---------------------------------------------------------

  // A matrix is stored as one float32 scale for each row, then the int8
  // numbers; a vector is stored as float32. Offsets are multiples of four.
  function load(tensors, buffer) {
    for (const { name, shape, offset } of tensors) {
      const [rows, columns] = shape;
      if (columns === undefined) {
        weights.set(name, new Float32Array(buffer, offset, rows));
        continue;
      }
      weights.set(name, {
        rows, columns,
        scale: new Float32Array(buffer, offset, rows),
        coarse: new Int8Array(buffer, offset + 4 * rows, rows * columns),
        rest: null,
      });
    }
  }

  // What rounding to int8 left over, in steps of scale / 254.
  function refine(tensors, buffer) {
    for (const { name, shape: [rows, columns], offset } of tensors)
      weights.get(name).rest = new Int8Array(buffer, offset, rows * columns);
  }

  // Write one row of a matrix into `row` as ordinary numbers.
  function readRow(matrix, r, row, fine) {
    const { columns, coarse, rest } = matrix, start = r * columns;
    const scale = matrix.scale[r];
    for (let i = 0; i < columns; i++) row[i] = scale * coarse[start + i];
    if (!fine) return;
    const step = scale / 254;
    for (let i = 0; i < columns; i++) row[i] += step * rest[start + i];
  }

  // --- the operations --------------------------------------------------

  // y = x W^T + b for n vectors. A row of W is turned into ordinary numbers
  // once and meets all vectors; four rows at a time, so that a number of x
  // is read once for four products.
  function multiply(matrix, bias, x, n, fine) {
    const { rows, columns } = matrix, y = new Float64Array(n * rows);
    const w = Array.from({ length: 4 }, () => new Float64Array(columns));
    for (let r = 0; r < rows; r += 4) {
      const many = Math.min(4, rows - r);
      for (let k = 0; k < many; k++) readRow(matrix, r + k, w[k], fine);
      const [w0, w1, w2, w3] = w;
      for (let t = 0; t < n; t++) {
        const start = t * columns;
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let i = 0; i < columns; i++) {
          const xi = x[start + i];
          s0 += xi * w0[i]; s1 += xi * w1[i];
          s2 += xi * w2[i]; s3 += xi * w3[i];
        }
        const sums = [s0, s1, s2, s3];
        for (let k = 0; k < many; k++)
          y[t * rows + r + k] = sums[k] + bias[r + k];
      }
    }
    return y;
  }

  function linear(name, x, n, fine) {
    const matrix = weights.get(`${name}.weight`);
    return multiply(matrix, weights.get(`${name}.bias`), x, n, fine);
  }

  // In place: every vector gets mean 0 and variance 1, then scale and shift.
  function layerNorm(name, x, n) {
    const scale = weights.get(`${name}.weight`);
    const shift = weights.get(`${name}.bias`);
    for (let t = 0; t < n; t++) {
      const vector = x.subarray(t * hidden, (t + 1) * hidden);
      let mean = 0, variance = 0;
      for (const value of vector) mean += value / hidden;
      for (const value of vector) variance += (value - mean) ** 2 / hidden;
      const root = Math.sqrt(variance + epsilon);
      for (let i = 0; i < hidden; i++)
        vector[i] = ((vector[i] - mean) / root) * scale[i] + shift[i];
    }
    return x;
  }

  // erf by its series of positive terms, 2/sqrt(pi) e^(-z^2) (z + 2z^3/3 +
  // 4z^5/15 + ...): nothing cancels, and beyond 6 it is 1 in float64.
  function erf(z) {
    const size = Math.abs(z);
    if (size > 6) return Math.sign(z);
    let term = size, sum = size;
    for (let k = 1; term > 1e-17 * sum; k++) {
      term *= (2 * size * size) / (2 * k + 1);
      sum += term;
    }
    const value = (2 / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum;
    return z < 0 ? -value : value;
  }

  function gelu(x) {
    for (let i = 0; i < x.length; i++)
      x[i] *= 0.5 * (1 + erf(x[i] * Math.SQRT1_2));
    return x;
  }

  function softmax(row) {
    let largest = -Infinity, sum = 0;
    for (const score of row) largest = Math.max(largest, score);
    for (let j = 0; j < row.length; j++)
      sum += row[j] = Math.exp(row[j] - largest);
    for (let j = 0; j < row.length; j++) row[j] /= sum;
  }

  function addTo(x, y) {
    for (let i = 0; i < x.length; i++) x[i] += y[i];
    return x;
  }

  // --- the model -------------------------------------------------------

  function embed(ids, segments, fine) {
    const x = new Float64Array(ids.length * hidden);
    const row = new Float64Array(hidden);
    ids.forEach((id, t) => {
      const vector = x.subarray(t * hidden, (t + 1) * hidden);
      for (const [name, r] of
        [["word", id], ["position", t], ["segment", segments[t]]]) {
        readRow(weights.get(`embeddings.${name}.weight`), r, row, fine);
        addTo(vector, row);
      }
    });
    return layerNorm("embedding_norm", x, ids.length);
  }

  // One head: fills its attention map [n, n] and its columns of `mixed`.
  function attendWithHead(h, query, key, value, n, map, mixed) {
    const first = h * width;
    for (let i = 0; i < n; i++) {
      const row = map.subarray(i * n, (i + 1) * n);
      for (let j = 0; j < n; j++) {
        let score = 0;
        for (let c = first; c < first + width; c++)
          score += query[i * hidden + c] * key[j * hidden + c];
        row[j] = score / Math.sqrt(width);
      }
      softmax(row);
      for (let j = 0; j < n; j++)
        for (let c = first; c < first + width; c++)
          mixed[i * hidden + c] += row[j] * value[j * hidden + c];
    }
  }

  function layer(l, x, n, fine) {
    const name = (part) => `layers.${l}.${part}`;
    const query = linear(name("attention.query"), x, n, fine);
    const key = linear(name("attention.key"), x, n, fine);
    const value = linear(name("attention.value"), x, n, fine);
    const attention = new Float64Array(heads * n * n);
    const mixed = new Float64Array(n * hidden);
    for (let h = 0; h < heads; h++) {
      const map = attention.subarray(h * n * n, (h + 1) * n * n);
      attendWithHead(h, query, key, value, n, map, mixed);
    }
    const attended = linear(name("attention.output"), mixed, n, fine);
    const middle = addTo(attended, x);
    layerNorm(name("attention_norm"), middle, n);
    const wide = gelu(linear(name("feed_forward.up"), middle, n, fine));
    const state = linear(name("feed_forward.down"), wide, n, fine);
    layerNorm(name("feed_forward_norm"), addTo(state, middle), n);
    return { state, attention };
  }

  // states[0] is the embeddings' sum, states[l] what layer l gives.
  async function run(ids, segments, { fine = false, onLayer, pause } = {}) {
    const n = ids.length, states = [embed(ids, segments, fine)];
    const attentions = [];
    if (onLayer) onLayer(0, states[0], null);
    for (let l = 0; l < layers; l++) {
      if (pause) await pause();
      const { state, attention } = layer(l, states[l], n, fine);
      states.push(state);
      attentions.push(attention);
      if (onLayer) onLayer(l + 1, state, attention);
    }
    return { states, attentions };
  }

  // The logits at one position, from any of the states.
  function predict(state, position, fine) {
    const x = state.slice(position * hidden, (position + 1) * hidden);
    const turned = gelu(linear("masked_words.dense", x, 1, fine));
    layerNorm("masked_words.norm", turned, 1);
    // The decoder's matrix is the table of word embeddings (tied weights).
    const words = weights.get("embeddings.word.weight");
    const bias = weights.get("masked_words.decoder.bias");
    return multiply(words, bias, turned, 1, fine);
  }

  return { load, refine, run, predict };
}
