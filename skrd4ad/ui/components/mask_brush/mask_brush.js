// The mask brush in the browser; the other files stand before this text in the same module. Python packs one payload
// (envelope.py) for an image; from then on drawing needs no server. Python hears of a change when the pointer is released.

const BRUSHES = new WeakMap();
const DRAWINGS = new Map(); // by payload: a drawing outlives its place on the page, when only the layout changes
const MAX_DRAWINGS = 2;
const THRESHOLD_STEPS = 1000;
const FLAT_START = 0.8; // where the slider starts, from the map's lowest to its peak, when the limit is above all of it
const SIZE_STEPS = 100;
const TOOL_KEYS = { b: "brush", e: "eraser", o: "polygon", r: "box", m: "map" };
const HINTS = {
  brush: "Drag to paint; Shift erases.",
  eraser: "Drag to erase.",
  polygon: "Click corners; Enter closes, Esc drops.",
  box: "Drag from corner to corner; Shift erases.",
  map: "Click an outlined region; Shift erases it.",
};

const NO_REGION = "Nothing lies above this threshold; lower it.";

export default function ({ data, parentElement, setStateValue }) {
  let brush = BRUSHES.get(parentElement);
  if (!brush) {
    brush = new Brush(parentElement.querySelector(".brush"));
    BRUSHES.set(parentElement, brush);
  }
  brush.report = (drawing) => setStateValue("mask", drawing);
  brush.update(unpack(data));
  return brush.keys.attach();
}

class Brush {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector("." + name);
    for (const name of ["picture", "drawn", "sizes", "opacity", "thresholds", "undo", "redo", "clear", "all", "fit"]) {
      this[name] = this.find(name);
    }
    const element = this.find("stage");
    this.stage = new Stage(element, this.find("layers"), () => this.moved());
    this.preview = new Preview(this.find("lines"), this.stage);
    this.strokes = new Strokes(this, element);
    this.keys = new PageKeys(root, (event, key) => this.pageKey(event, key));
    this.tool = "brush";
    this.listen(element);
  }

  // ---- data ----

  update(head) {
    const { head: before, mask } = this;
    if (before?.load === head.load) return;
    this.strokes.forget(); // while the image before is still whole
    this.head = head;
    this.mask = null; // nothing is drawn on what is not there yet
    if (mask && head.picture && head.picture === before.picture) this.exchange(mask);
    else this.load(head);
  }

  exchange(mask) { // another drawing on the same picture; the one before the last stroke is that stroke taken back
    const { head } = this, runs = new Uint32Array(head.blob("runs").buffer);
    const back = mask.undo() && mask.runs.length === runs.length && mask.runs.every((length, i) => length === runs[i]);
    this.mask = recall(head, back ? mask : null);
    this.mask.revision = Math.max(this.mask.revision, head.base);
    this.mask.unpainted.grow(0, 0, head.width, head.height); // what is gone as well
    this.paint();
    this.tell();
    this.redraw();
    this.root.dataset.ready = head.id;
  }

  async load(head) {
    delete this.root.dataset.ready;
    const bitmap = await createImageBitmap(new Blob([head.blob("image")], { type: "image/jpeg" }));
    if (this.head.load !== head.load) return; // the user went on to another image meanwhile
    const { width, height } = head;
    for (const canvas of [this.picture, this.drawn]) Object.assign(canvas, { width, height });
    this.picture.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    this.heat = head.map && new HeatSource(new Float32Array(head.blob("map").buffer), head.map, head);
    const side = Math.max(width, height);
    this.colours = tones(head.colour);
    this.hatch = head.hatched ? Math.max(2, Math.round(side / 110)) : 0;
    this.rim = Math.max(1, Math.round(side / 640)); // of the light edge
    this.root.setAttribute("aria-label", head.label);
    this.root.style.setProperty("--most", `${head.maxHeight}px`);
    this.offerMap(head);
    this.root.toggleAttribute("data-page-keys", head.pageKeys);
    this.root.querySelector(".undo kbd").textContent = head.pageKeys ? "Ctrl Z" : "Z";
    this.undo.setAttribute("aria-keyshortcuts", head.pageKeys ? "Control+Z" : "Z");
    this.largest = Math.max(16, Math.round(Math.min(width, height) / 2));
    this.setSize(this.size ?? Math.max(2, Math.round(Math.min(width, height) / 32)));
    this.mask = recall(head);
    this.stage.show({ width, height });
    this.paint();
    this.tell();
    this.root.dataset.ready = head.id;
  }

  offerMap(head) {
    this.find("map-tool").hidden = !this.heat;
    if (!this.heat && this.tool === "map") this.choose("brush");
    if (!this.heat) return;
    const { low, high } = this.heat;
    this.lowest = Math.min(low, head.threshold ?? low);
    this.step = (Math.max(high, head.threshold ?? high) - this.lowest || 1) / THRESHOLD_STEPS;
    const start = head.threshold ?? (low + high) / 2; // where nothing lies above the limit, the highest spots are offered
    this.setThreshold(start < high ? start : low + (high - low) * FLAT_START);
  }

  // ---- what is shown ----

  paint() { // the mask, where it changed
    const { mask, hatch, colours, rim } = this, { bits, width, height, unpainted } = mask, up = rim * width;
    if (unpainted.empty) return;
    const x0 = Math.max(0, unpainted.x0 - rim), y0 = Math.max(0, unpainted.y0 - rim); // neighbours may be an edge now
    const x1 = Math.min(width, unpainted.x1 + rim), y1 = Math.min(height, unpainted.y1 + rim);
    const pixels = new ImageData(x1 - x0, y1 - y0), out = new Uint32Array(pixels.data.buffer);
    for (let y = y0, i = 0; y < y1; y++) {
      for (let x = x0, at = y * width + x0; x < x1; x++, i++, at++) {
        if (!bits[at]) continue;
        const inside = (x < rim || bits[at - rim]) && (x + rim >= width || bits[at + rim]) &&
          (y < rim || bits[at - up]) && (y + rim >= height || bits[at + up]);
        if (!inside) out[i] = colours.edge;
        else out[i] = hatch && Math.floor((x + y) / hatch) % 2 ? colours.pale : colours.full;
      }
    }
    this.drawn.getContext("2d").putImageData(pixels, x0, y0);
    unpainted.clear();
  }

  redraw() { // what is about to be drawn
    if (!this.mask) return;
    const { tool, strokes, head } = this, { action } = strokes, paints = tool === "brush" || tool === "eraser";
    this.preview.draw({
      colour: head.colour,
      outline: tool === "map" ? this.outline : null,
      plane: head.map,
      corners: strokes.corners,
      pointer: strokes.pointer,
      box: action?.kind === "box" ? [action.from, strokes.pointer] : null,
      rim: paints && !strokes.space ? this.size / 2 : 0,
    });
    const [x, y] = strokes.pointer?.map(Math.floor) ?? [-1, -1];
    const over = x >= 0 && y >= 0 && x < head.width && y < head.height;
    const score = over && tool === "map" ? `${formatScore(this.heat.at(x, y))} at ` : "";
    this.find("readout").value = over ? `${score}x ${x}, y ${y}` : "";
  }

  moved() {
    this.fit.hidden = this.stage.scale === 1;
    this.redraw();
  }

  tell() { // numbers and words
    const { mask, root } = this;
    Object.assign(root.dataset, { area: mask.area, revision: mask.revision, tool: this.tool, size: this.size });
    const share = formatScore((100 * mask.area) / mask.bits.length);
    const drawn = `${mask.area.toLocaleString("en")} pixels, ${share} % of the image`;
    this.find("area").textContent = mask.area ? drawn : "Nothing drawn";
    this.find("hint").textContent = this.tool === "map" && this.all.disabled ? NO_REGION : HINTS[this.tool];
    this.undo.disabled = !mask.done.length;
    this.redo.disabled = !mask.undone.length;
    this.clear.disabled = !mask.area;
  }

  // ---- changes ----

  finish() { // a stroke is done
    if (this.mask.commit()) this.send();
  }

  send() {
    const { head, mask } = this;
    this.paint();
    this.tell();
    this.report({ id: head.id, rev: mask.revision, w: head.width, h: head.height, runs: mask.runs });
  }

  travel(way) { // "undo" or "redo"
    if (!this.mask || this.strokes.action || (way === "undo" && this.strokes.takeBack())) return;
    if (this.mask[way]()) this.send();
  }

  change(act) { // one that needs no pointer
    if (!this.mask || this.strokes.action) return;
    act(this.mask);
    this.finish();
  }

  // ---- settings ----

  choose(tool) {
    if (tool === "map" && !this.heat) return;
    this.tool = tool;
    this.root.querySelector(`input[value="${tool}"]`).checked = true;
    this.find("size-row").hidden = tool === "map";
    this.find("map-row").hidden = tool !== "map";
    this.sizes.disabled = tool === "polygon" || tool === "box";
    this.strokes.forget();
    if (this.mask) this.tell();
  }

  setSize(size) { // finer steps where brushes are small
    this.size = Math.min(this.largest, Math.max(1, Math.round(size)));
    this.sizes.value = Math.round(SIZE_STEPS * Math.sqrt((this.size - 1) / (this.largest - 1)));
    this.sizes.setAttribute("aria-valuetext", `${this.size} pixels`);
    this.find("size").value = `${this.size} px`;
    this.root.dataset.size = this.size;
    fillTrack(this.sizes);
    this.redraw();
  }

  resize(way) { // a tenth more or less, at least a pixel
    this.setSize(this.size + way * Math.max(1, Math.round(this.size / 10)));
  }

  setOpacity() {
    this.drawn.style.opacity = this.opacity.value / 100;
    this.find("percent").value = this.opacity.value + " %";
    fillTrack(this.opacity);
  }

  setThreshold(threshold) {
    const { analysis } = this.heat, { thresholds, all } = this;
    this.threshold = threshold;
    analysis.scan(threshold);
    this.outline = analysis.outline();
    const count = analysis.regions.length, text = formatScore(threshold);
    thresholds.value = Math.round((threshold - this.lowest) / this.step);
    thresholds.setAttribute("aria-valuetext", `${text}, ${count === 1 ? "1 region" : `${count} regions`} above`);
    this.find("threshold").value = text;
    this.root.dataset.threshold = threshold;
    all.disabled = !count;
    all.textContent = count === 1 ? "Add the region" : `Add all ${count || ""} regions`.replace("  ", " ");
    fillTrack(thresholds);
    if (this.mask) this.tell();
    this.redraw();
  }

  // ---- controls ----

  listen(element) {
    const { root, stage, sizes, opacity, thresholds } = this;
    this.find("tools").addEventListener("change", (event) => this.choose(event.target.value));
    sizes.addEventListener("input", () => this.setSize(1 + (this.largest - 1) * (sizes.value / SIZE_STEPS) ** 2));
    opacity.addEventListener("input", () => this.setOpacity());
    thresholds.addEventListener("input", () => this.setThreshold(this.lowest + thresholds.value * this.step));
    const acts = {
      undo: () => this.travel("undo"),
      redo: () => this.travel("redo"),
      clear: () => this.change((mask) => mask.clear()),
      all: () => this.addAll(),
      fit: () => stage.fit(),
    };
    for (const [name, act] of Object.entries(acts)) {
      this[name].addEventListener("click", (event) => {
        act();
        if (event.detail || this[name].disabled || this[name].hidden) element.focus({ preventScroll: true }); // for the keys
      });
    }
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("keyup", (event) => event.key === " " && this.strokes.hold(false));
    this.setOpacity();
  }

  addAll() {
    this.change((mask) => this.heat.all(this.threshold, (y, from, to) => mask.span(y, from, to, 1)));
  }

  wheel(event) {
    const { stage } = this;
    if (!this.mask || (stage.scale === 1 && event.deltaY > 0)) return; // lets the page scroll on
    event.preventDefault();
    if (this.strokes.action) return;
    stage.zoomAt(stage.point(event), stage.scale * Math.exp(-event.deltaY / 400));
    this.strokes.pointer = this.strokes.place(event);
    this.redraw();
  }

  key(event) {
    if (!this.mask || event.altKey || !this.act(event, event.key.toLowerCase())) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has keys of its own, such as R
  }

  pageKey(event, key) { // a tool, from wherever the focus is
    const inside = event.composedPath().includes(this.root), wanted = this.mask && this.head.pageKeys && !inside;
    if (!wanted || !TOOL_KEYS[key] || (key === "m" && !this.heat)) return false;
    this.choose(TOOL_KEYS[key]);
    this.stage.element.focus({ preventScroll: true }); // for its other keys
    return true;
  }

  act(event, key) { // false for a key that means nothing here
    const { strokes } = this, command = event.ctrlKey || event.metaKey, onButton = event.target.closest("button");
    if (key === "z" && !command && this.head.pageKeys) return false;
    if (key === "z") this.travel(event.shiftKey ? "redo" : "undo");
    else if (key === "y") this.travel("redo");
    else if (command) return false;
    else if (TOOL_KEYS[key] && (key !== "m" || this.heat)) this.choose(TOOL_KEYS[key]);
    else if (key === "[" || key === "]") this.resize(key === "[" ? -1 : 1);
    else if (key === "0") this.stage.fit();
    else if (key === " " && !onButton) strokes.hold(true);
    else if (key === "escape" && (strokes.action || strokes.corners.length)) strokes.forget();
    else if (key === "backspace" && strokes.corners.length) strokes.takeBack();
    else if (key === "enter" && strokes.corners.length && !onButton) {
      strokes.close(event.shiftKey ? 0 : 1);
      this.redraw();
    } else return false;
    return true;
  }
}

function recall(head, kept = null) { // the drawing of a payload as it was left, or its start
  let mask = DRAWINGS.get(head.load);
  if (!mask) {
    mask = kept ?? new Mask(head.width, head.height, new Uint32Array(head.blob("runs").buffer), head.base);
    DRAWINGS.set(head.load, mask);
    if (DRAWINGS.size > MAX_DRAWINGS) DRAWINGS.delete(DRAWINGS.keys().next().value);
  }
  mask.unpainted.clear();
  if (mask.area) mask.unpainted.grow(0, 0, mask.width, mask.height);
  return mask;
}

function tones(hex) { // as the bytes of an ImageData, read as little-endian numbers
  const rgb = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  const bytes = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  return { full: bytes(rgb, 255), pale: bytes(rgb, 96), edge: bytes(rgb.map((v) => (v + 2 * 255) / 3), 255) };
}

function fillTrack(slider) { // up to the thumb's centre, which is 16 CSS pixels wide
  slider.style.setProperty("--fill", `calc(${(slider.value - slider.min) / (slider.max - slider.min)} * (100% - 16px) + 8px)`);
}

function formatScore(value) { // three significant figures
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3)), exponent = Math.floor(Math.log10(Math.abs(rounded)));
  return exponent < -6 ? value.toExponential(2) : rounded.toFixed(Math.max(0, 2 - exponent));
}
