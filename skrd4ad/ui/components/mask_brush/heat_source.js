// Regions of the anomaly map in the pixels of the image. The map is interpolated linearly between its pixel centres, as the
// outlines are; outside the outermost centres it goes on as it is there.

class HeatSource {
  constructor(values, plane, { width, height }) {
    Object.assign(this, { values, plane, width, height });
    this.analysis = new Analysis(values, plane.width, plane.height);
    this.low = values.reduce((a, b) => Math.min(a, b), Infinity);
    this.high = this.analysis.peak;
    this.columns = this.samples(width, plane.width);
    this.lines = this.samples(height, plane.height);
    this.peaks = Float32Array.from({ length: plane.height }, (_, y) =>
      values.subarray(y * plane.width, (y + 1) * plane.width).reduce((a, b) => Math.max(a, b)));
  }

  samples(size, cells) { // for each pixel the cell before its centre, the one after, and how far it is between them
    const before = new Int32Array(size), after = new Int32Array(size), share = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      const at = Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / size - 0.5));
      before[i] = Math.floor(at);
      after[i] = Math.min(cells - 1, before[i] + 1);
      share[i] = at - before[i];
    }
    return { before, after, share };
  }

  at(x, y) { // score of a pixel
    const { values, plane, columns, lines } = this, upper = lines.before[y] * plane.width, lower = lines.after[y] * plane.width;
    const a = columns.before[x], b = columns.after[x], f = columns.share[x], g = lines.share[y];
    const top = values[upper + a] * (1 - f) + values[upper + b] * f;
    const bottom = values[lower + a] * (1 - f) + values[lower + b] * f;
    return top * (1 - g) + bottom * g;
  }

  row(y, threshold) { // bytes 0 and 1, or null where nothing is above
    if (!(Math.max(this.peaks[this.lines.before[y]], this.peaks[this.lines.after[y]]) > threshold)) return null;
    const pixels = new Uint8Array(this.width);
    for (let x = 0; x < this.width; x++) pixels[x] = this.at(x, y) > threshold ? 1 : 0;
    return pixels;
  }

  all(threshold, span) {
    for (let y = 0; y < this.height; y++) {
      const row = this.row(y, threshold);
      for (let from = row ? row.indexOf(1) : -1, to; from >= 0; from = row.indexOf(1, to)) {
        const end = row.indexOf(0, from);
        to = end < 0 ? this.width : end;
        span(y, from, to);
      }
    }
  }

  region(x, y, threshold, span) { // the 8-connected region of a pixel
    const rows = new Map(), todo = [[x, y]]; // pixels that are taken are cleared in their row
    const row = (line) => {
      if (!rows.has(line)) rows.set(line, this.row(line, threshold));
      return rows.get(line);
    };
    while (todo.length) {
      const [at, line] = todo.pop(), pixels = row(line);
      if (!pixels?.[at]) continue;
      let from = at, to = at + 1;
      while (from > 0 && pixels[from - 1]) from--;
      while (to < this.width && pixels[to]) to++;
      pixels.fill(0, from, to);
      span(line, from, to);
      for (const next of [line - 1, line + 1]) {
        const near = next < 0 || next >= this.height ? null : row(next);
        if (!near) continue;
        const first = Math.max(0, from - 1), end = Math.min(this.width, to + 1);
        for (let i = first; i < end; i++) if (near[i] && (i === first || !near[i - 1])) todo.push([i, next]);
      }
    }
  }
}
