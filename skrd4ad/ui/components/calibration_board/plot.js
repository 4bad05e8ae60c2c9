// The distributions as lanes of bars with a mark for every image, and two limits to take hold of. SVG: sharp on every
// screen. Bars are drawn when the data, the width or the scale change; a moved limit moves two lines and nothing else.

const SVG = "http://www.w3.org/2000/svg";
const EDGE = 14; // CSS pixels left and right of the scores
const HANDLES = 46; // above the lanes: one row for each handle, so that they never cover each other
const ROW = { reject: 12, review: 33 };
const LANE = { full: 62, type: 34, alone: 170 }; // height of the bars
const TITLE = 20, RUG = 12, AXIS = 40;
const BAR = 9; // width with its gap

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Plot {
  constructor(root) {
    this.root = root;
    this.lanesLayer = svg("g");
    this.titles = svg("g", { class: "titles" }); // above the lines of the limits, which would strike them through
    this.zones = ["OK", "REVIEW", "NG"].map((name) => {
      const zone = { name, tint: svg("rect", { class: "tint", "data-zone": name, y: HANDLES }), word: svg("text", { class: "zone" }, name) };
      zone.word.setAttribute("text-anchor", "middle");
      return zone;
    });
    this.limits = Object.fromEntries(["review", "reject"].map((name) => [name, this.limit(name)]));
    root.append(
      hatching(), ...this.zones.map((zone) => zone.tint), this.lanesLayer, ...this.zones.map((zone) => zone.word),
      this.limits.review.group, this.limits.reject.group, this.titles,
    );
  }

  limit(name) {
    const shape = name === "review" ? "M0-9L9 0L0 9L-9 0Z" : "M0-8L9 8H-9Z";
    const parts = {
      stem: svg("line", { class: "stem" }),
      grip: svg("rect", { class: "grip", x: -9, width: 18 }),
      hold: svg("rect", { class: "hold", x: -16, y: -12, width: 32, height: 24, rx: 4 }),
      mark: svg("path", { class: "mark", d: shape }),
      text: svg("text", { class: "at", y: 5 }),
    };
    const handle = svg("g", { class: "handle", role: "slider", tabindex: 0, "aria-orientation": "horizontal" });
    handle.append(parts.hold, parts.mark, parts.text);
    const group = svg("g", { class: "limit-line", "data-limit": name }, parts.stem, parts.grip, handle);
    return { ...parts, handle, group };
  }

  // ---- scale ----

  arrange({ width, range, log }) {
    Object.assign(this, { width, log, range });
    this.from = this.warp(range[0]);
    this.to = this.warp(range[1]);
  }

  warp(value) {
    return this.log ? Math.log(value) : value;
  }

  x(value) {
    return EDGE + ((this.warp(value) - this.from) / (this.to - this.from)) * (this.width - 2 * EDGE);
  }

  value(x) {
    const at = this.from + ((x - EDGE) / (this.width - 2 * EDGE)) * (this.to - this.from);
    return this.log ? Math.exp(at) : at;
  }

  // ---- what stays while a limit moves ----

  drawLanes(lanes) {
    let y = HANDLES;
    const drawn = [];
    this.titles.replaceChildren();
    for (const lane of lanes) {
      const height = lane.small ? LANE.type : Math.max(LANE.full, LANE.alone / lanes.length);
      drawn.push(this.lane(lane, y, height));
      y += TITLE + height + RUG;
    }
    this.bottom = y + 4;
    this.height = this.bottom + AXIS;
    this.lanesLayer.replaceChildren(...drawn, this.axis());
    this.root.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.root.style.height = `${this.height}px`;
    for (const { tint, word } of this.zones) {
      tint.setAttribute("height", this.bottom - HANDLES);
      word.setAttribute("y", this.height - 4);
    }
    for (const [name, { stem, grip, handle }] of Object.entries(this.limits)) {
      stem.setAttribute("y1", ROW[name]);
      stem.setAttribute("y2", this.bottom + 4);
      grip.setAttribute("y", HANDLES);
      grip.setAttribute("height", this.bottom - HANDLES);
      handle.setAttribute("transform", `translate(0 ${ROW[name]})`);
    }
  }

  lane({ kind, title, scores }, top, height) {
    const base = top + TITLE + height;
    const bins = this.bins(scores), most = Math.max(1, ...bins.map((bin) => bin.n));
    const bars = bins.filter((bin) => bin.n).map((bin) => {
      const tall = Math.max(2, (bin.n / most) * (height - 6));
      const words = `${bin.n} image${bin.n > 1 ? "s" : ""} from ${formatNumber(bin.from)} to ${formatNumber(bin.to)}`;
      return svg("rect", { class: "column", x: bin.x, y: base - tall, width: bin.width - 1, height: tall }, svg("title", {}, words));
    });
    const label = svg("text", { class: "title", x: EDGE + 18, y: top + 15 }, title);
    const swatch = svg("rect", { class: "column swatch", x: EDGE, y: top + 4, width: 12, height: 12 });
    const floor = svg("line", { class: "floor", x1: EDGE, x2: this.width - EDGE, y1: base + 0.5, y2: base + 0.5 });
    const rug = svg("path", { class: "rug", d: this.rug(scores, base + 7, kind) });
    this.titles.append(svg("g", { class: "lane", "data-kind": kind }, swatch, label));
    return svg("g", { class: "lane", "data-kind": kind }, floor, ...bars, rug);
  }

  bins(scores) {
    const many = Math.max(8, Math.floor((this.width - 2 * EDGE) / BAR)), width = (this.width - 2 * EDGE) / many;
    const bins = Array.from({ length: many }, (_, i) => {
      const x = EDGE + i * width;
      return { x, width, n: 0, from: this.value(x), to: this.value(x + width) };
    });
    for (const score of scores) bins[Math.min(many - 1, Math.max(0, Math.floor((this.x(score) - EDGE) / width)))].n++;
    return bins;
  }

  rug(scores, y, kind) { // a circle for a good part, a cross for a defect
    const shape = kind === "defect" ? "m-2.5-2.5l5 5m0-5l-5 5" : "m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0";
    return Array.from(scores, (score) => `M${this.x(score).toFixed(2)} ${y}${shape}`).join("");
  }

  axis() {
    const y = this.bottom, group = svg("g", { class: "axis" });
    group.append(svg("line", { x1: EDGE, x2: this.width - EDGE, y1: y + 0.5, y2: y + 0.5 }));
    let last = -Infinity;
    for (const value of this.ticks()) {
      const x = this.x(value);
      if (x - last < 48) continue;
      last = x;
      const words = svg("text", { x, y: y + 18, "text-anchor": "middle" }, String(value));
      group.append(svg("line", { x1: x, x2: x, y1: y, y2: y + 5 }), words);
    }
    return group;
  }

  ticks() {
    const [low, high] = this.range, rough = (high - low) / Math.max(2, this.width / (this.log ? 24 : 80));
    const power = 10 ** Math.floor(Math.log10(rough)), step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
    const first = Math.ceil(low / step), last = Math.floor(high / step);
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(10)));
  }

  // ---- what follows a limit ----

  moveLimits({ review, reject }, told) {
    const ends = [0, review === null ? this.x(reject) : this.x(review), this.x(reject), this.width];
    this.zones.forEach(({ name, tint, word }, i) => {
      const from = Math.max(0, ends[i]), wide = Math.max(0, Math.min(this.width, ends[i + 1]) - from);
      tint.setAttribute("x", from);
      tint.setAttribute("width", wide);
      word.setAttribute("x", from + wide / 2);
      word.style.visibility = wide > 9 * name.length + 6 ? "visible" : "hidden";
    });
    this.move("reject", reject, told.reject);
    this.limits.review.group.style.display = review === null ? "none" : "";
    if (review !== null) this.move("review", review, told.review);
  }

  move(name, value, words) {
    const { group, handle, text } = this.limits[name], x = this.x(value), roomLeft = x > 150, roomRight = x < this.width - 120;
    const flip = name === "review" ? roomLeft : !roomRight; // the words of each point away from the other limit
    group.setAttribute("transform", `translate(${x} 0)`);
    text.textContent = `${name === "review" ? "REVIEW" : "NG"} above ${formatNumber(value)}`;
    text.setAttribute("x", flip ? -16 : 16);
    text.setAttribute("text-anchor", flip ? "end" : "start");
    const aria = { label: name === "review" ? "REVIEW limit" : "NG limit", valuenow: value, valuemin: this.range[0], valuemax: this.range[1], valuetext: words };
    for (const [key, of] of Object.entries(aria)) handle.setAttribute(`aria-${key}`, of);
  }
}

function hatching() {
  const pattern = svg("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(svg("rect", { class: "hatch-ground", width: 5, height: 5 }), svg("rect", { class: "hatch-line", width: 2.5, height: 5 }));
  return svg("defs", {}, pattern);
}
