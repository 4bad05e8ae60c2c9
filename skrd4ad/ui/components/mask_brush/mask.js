// A mask of bytes 0 and 1 with its history. A step of the history is a patch: the run lengths of the changed rectangle.

const MAX_STEPS = 200;

class Rectangle {
  constructor() {
    this.clear();
  }

  clear() {
    Object.assign(this, { x0: Infinity, y0: Infinity, x1: 0, y1: 0 });
  }

  get empty() {
    return this.x0 >= this.x1 || this.y0 >= this.y1;
  }

  grow(x0, y0, x1, y1) {
    this.x0 = Math.min(this.x0, x0);
    this.y0 = Math.min(this.y0, y0);
    this.x1 = Math.max(this.x1, x1);
    this.y1 = Math.max(this.y1, y1);
  }
}

class Mask {
  constructor(width, height, runs, revision) {
    Object.assign(this, { width, height, revision, done: [], undone: [] });
    this.bits = new Uint8Array(width * height);
    fillRuns(this.bits, runs);
    this.kept = this.bits.slice(); // as of the last step
    this.changed = new Rectangle(); // since the last step
    this.unpainted = new Rectangle(); // since the caller last painted
    this.unpainted.grow(0, 0, width, height);
    this.count();
  }

  count() {
    this.runs = runsOf(this.bits);
    this.area = this.runs.reduce((sum, length, i) => sum + (i % 2 ? length : 0), 0);
  }

  span(y, from, to, value) {
    this.bits.fill(value, y * this.width + from, y * this.width + to);
    this.changed.grow(from, y, to, y + 1);
    this.unpainted.grow(from, y, to, y + 1);
  }

  clear() {
    for (let y = 0; y < this.height; y++) {
      const row = y * this.width, first = this.bits.subarray(row, row + this.width).indexOf(1);
      if (first >= 0) this.span(y, first, this.bits.lastIndexOf(1, row + this.width - 1) - row + 1, 0);
    }
  }

  commit() { // makes a step of what changed; false when nothing did
    const { changed, kept, bits } = this;
    if (changed.empty) return false;
    const before = this.cut(kept, changed), after = this.cut(bits, changed);
    const place = { ...changed };
    changed.clear();
    if (before.every((value, i) => value === after[i])) return false;
    this.paste(kept, place, after);
    this.done.push({ place, runs: runsOf(before) });
    if (this.done.length > MAX_STEPS) this.done.shift();
    this.undone = [];
    this.revise();
    return true;
  }

  revert() { // drops what changed since the last step
    if (!this.changed.empty) this.paste(this.bits, this.changed, this.cut(this.kept, this.changed));
    this.changed.clear();
  }

  undo() {
    return this.step(this.done, this.undone);
  }

  redo() {
    return this.step(this.undone, this.done);
  }

  step(from, to) {
    const patch = from.pop();
    if (!patch) return false;
    const { place } = patch, other = this.cut(this.bits, place), pixels = new Uint8Array(other.length);
    fillRuns(pixels, patch.runs);
    this.paste(this.bits, place, pixels);
    this.paste(this.kept, place, pixels);
    to.push({ place, runs: runsOf(other) });
    this.revise();
    return true;
  }

  revise() {
    this.revision++;
    this.count();
  }

  cut(bytes, { x0, y0, x1, y1 }) {
    const wide = x1 - x0, pixels = new Uint8Array(wide * (y1 - y0));
    for (let y = y0; y < y1; y++) pixels.set(bytes.subarray(y * this.width + x0, y * this.width + x1), (y - y0) * wide);
    return pixels;
  }

  paste(bytes, { x0, y0, x1, y1 }, pixels) {
    const wide = x1 - x0;
    for (let y = y0; y < y1; y++) bytes.set(pixels.subarray((y - y0) * wide, (y - y0 + 1) * wide), y * this.width + x0);
    if (bytes === this.bits) this.unpainted.grow(x0, y0, x1, y1);
  }
}

function runsOf(bytes) { // the first run counts zeros
  const runs = [];
  for (let at = 0, value = 0; at < bytes.length; value = 1 - value) {
    const found = bytes.indexOf(1 - value, at), end = found < 0 ? bytes.length : found;
    runs.push(end - at);
    at = end;
  }
  return runs;
}

function fillRuns(bytes, runs) {
  let at = 0;
  runs.forEach((length, i) => {
    bytes.fill(i % 2, at, at + length);
    at += length;
  });
}
