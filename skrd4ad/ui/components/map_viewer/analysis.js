// Everything that a threshold says of a map: pixels above, regions (8-connected), outlines.
class Analysis {
  constructor(values, width, height) {
    Object.assign(this, { values, width, height, rows: new Int32Array(height + 1) });
    const most = Math.ceil(width / 2) * height;
    this.starts = new Int32Array(most);
    this.ends = new Int32Array(most);
    this.parents = new Int32Array(most);
    this.peak = values.reduce((a, b) => Math.max(a, b), -Infinity);
  }

  scan(threshold) { // runs of pixels above the threshold, row by row
    const { values, width, height, starts, ends, rows } = this;
    let count = 0, above = 0;
    for (let y = 0; y < height; y++) {
      rows[y] = count;
      for (let first = y * width, end = first + width, i = first; i < end; i++) {
        if (!(values[i] > threshold)) continue;
        starts[count] = i - first;
        while (i < end && values[i] > threshold) i++;
        ends[count] = i - first;
        above += ends[count] - starts[count];
        count++;
      }
    }
    rows[height] = count;
    this.threshold = threshold;
    this.above = above;
    this.regions = this.join();
  }

  join() { // runs that touch, also at a corner, are one region; highest peak first
    const { values, width, height, starts, ends, rows, parents } = this;
    const count = rows[height];
    for (let r = 0; r < count; r++) parents[r] = r;
    const root = (r) => this.root(r);
    for (let y = 1; y < height; y++) {
      let a = rows[y - 1], b = rows[y];
      while (a < rows[y] && b < rows[y + 1]) {
        if (starts[a] <= ends[b] && starts[b] <= ends[a]) parents[root(b)] = root(a);
        if (ends[a] < ends[b]) a++;
        else b++;
      }
    }
    const found = new Map();
    for (let y = 0; y < height; y++) {
      for (let r = rows[y]; r < rows[y + 1]; r++) {
        const key = root(r);
        let region = found.get(key);
        if (!region) found.set(key, (region = { x0: width, y0: y, x1: 0, y1: 0, area: 0, sumX: 0, sumY: 0, peak: -Infinity }));
        region.x0 = Math.min(region.x0, starts[r]);
        region.x1 = Math.max(region.x1, ends[r]);
        region.y1 = y + 1;
        const long = ends[r] - starts[r];
        region.area += long;
        region.sumX += (long * (starts[r] + ends[r] - 1)) / 2;
        region.sumY += long * y;
        for (let i = y * width + starts[r], end = y * width + ends[r]; i < end; i++) {
          if (values[i] > region.peak) region.peak = values[i];
        }
      }
    }
    this.byRoot = found;
    return [...found.values()].sort((a, b) => b.peak - a.peak);
  }

  root(run) {
    const { parents } = this;
    while (parents[run] !== run) run = parents[run] = parents[parents[run]];
    return run;
  }

  regionAt(x, y) { // number of the region that holds a pixel of the map, or -1
    const { starts, ends, rows } = this;
    for (let r = rows[y]; r < rows[y + 1]; r++) {
      if (starts[r] <= x && x < ends[r]) return this.regions.indexOf(this.byRoot.get(this.root(r)));
    }
    return -1;
  }

  outlineOf(number) { // of one region; others never touch it, so that they only have to be cut out of its surroundings
    const { values, width, height, starts, ends, rows, threshold } = this, region = this.regions[number];
    const left = Math.max(0, region.x0 - 1), right = Math.min(width, region.x1 + 1);
    const top = Math.max(0, region.y0 - 1), bottom = Math.min(height, region.y1 + 1), across = right - left;
    const part = new Float32Array(across * (bottom - top));
    for (let y = top; y < bottom; y++) {
      const line = part.subarray((y - top) * across, (y - top + 1) * across);
      line.set(values.subarray(y * width + left, y * width + right));
      for (let r = rows[y]; r < rows[y + 1]; r++) {
        if (this.byRoot.get(this.root(r)) === region) continue;
        line.fill(-Infinity, Math.max(0, starts[r] - left), Math.max(0, Math.min(ends[r], right) - left));
      }
    }
    const alone = new Analysis(part, across, bottom - top), path = new Path2D();
    alone.scan(threshold);
    path.addPath(alone.outline(), new DOMMatrix([1, 0, 0, 1, left, top]));
    return path;
  }

  outline() {
    const path = new Path2D();
    this.segments((x0, y0, x1, y1) => {
      path.moveTo(x0, y0);
      path.lineTo(x1, y1);
    });
    return path;
  }

  // Marching squares between pixel centres, in map pixels, from the first to the last run of a pair of rows. Pixels
  // outside the map count as below, so that every outline closes.
  segments(emit) {
    const { values, width, height, starts, ends, rows, threshold } = this;
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? threshold - 1 : values[y * width + x]);
    const cross = (a, b) => (threshold - a) / (b - a);
    for (let y = -1; y < height; y++) {
      let from = width, to = 0;
      for (const row of [y, y + 1]) {
        if (row < 0 || row >= height || rows[row] === rows[row + 1]) continue;
        from = Math.min(from, starts[rows[row]]);
        to = Math.max(to, ends[rows[row + 1] - 1]);
      }
      for (let x = from - 1; x < to; x++) {
        const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
        const kind = (a > threshold) | ((b > threshold) << 1) | ((c > threshold) << 2) | ((d > threshold) << 3);
        if (kind === 0 || kind === 15) continue;
        const X = x + 0.5, Y = y + 0.5;
        const up = () => [X + cross(a, b), Y], down = () => [X + cross(d, c), Y + 1];
        const left = () => [X, Y + cross(a, d)], right = () => [X + 1, Y + cross(b, c)];
        for (const [p, q] of SIDES[kind]({ up, down, left, right })) emit(...p(), ...q());
      }
    }
  }
}

const between = (p, q) => (s) => [[s[p], s[q]]];
const SIDES = [ // by the corners above the threshold: 1 top left, 2 top right, 4 bottom right, 8 bottom left
  null, between("left", "up"), between("up", "right"), between("left", "right"), between("right", "down"),
  (s) => [[s.left, s.down], [s.up, s.right]], between("up", "down"), between("left", "down"), between("left", "down"),
  between("up", "down"), (s) => [[s.left, s.up], [s.right, s.down]], between("right", "down"), between("left", "right"),
  between("up", "right"), between("left", "up"),
];

function truthOutline(packed, { width, height }) { // one line a region, so that it can be dashed
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = (packed[i >> 3] >> (7 - (i & 7))) & 1;
  const analysis = new Analysis(values, width, height);
  analysis.scan(0.5);
  const ends = new Map(); // every end of a segment meets one other
  analysis.segments((x0, y0, x1, y1) => {
    for (const [from, to] of [[[x0, y0], [x1, y1]], [[x1, y1], [x0, y0]]]) {
      const key = String(from);
      if (!ends.has(key)) ends.set(key, { point: from, next: [] });
      ends.get(key).next.push(String(to));
    }
  });
  const path = new Path2D();
  for (const [start, { point }] of ends) {
    if (!ends.has(start)) continue;
    path.moveTo(...point);
    for (let key = start; key; ) {
      const { point: reached, next } = ends.get(key);
      path.lineTo(...reached);
      ends.delete(key);
      key = next.find((other) => ends.has(other));
    }
    path.closePath();
  }
  return path;
}
