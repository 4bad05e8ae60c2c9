// The map viewer in the browser; the other files stand before this text in the same module. Python packs one payload
// (envelope.py); from then on threshold, opacity, views, zoom and regions need no server. Python hears of a threshold when
// its control is released, and of another view.

const VIEWERS = new WeakMap();
const STEPS_PER_DECADE = 1000;
const MOST_FIGURES = 9;
const TELL_AFTER = 200; // ms without another key
const REACH = 6; // CSS pixels around the box of a region where a click still means it
const STILL = 4; // CSS pixels a pointer may move and still have clicked

export default function ({ data, parentElement, setStateValue }) {
  let viewer = VIEWERS.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement.querySelector(".viewer"));
    VIEWERS.set(parentElement, viewer);
  }
  viewer.report = (choice) => setStateValue("choice", choice);
  viewer.update(unpack(data));
  return viewer.keys.attach();
}

function formatNumber(value, figures = 3) { // significant figures, as theme.format_number
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(figures)), exponent = Math.floor(Math.log10(Math.abs(rounded)));
  return exponent < -6 ? value.toExponential(figures - 1) : rounded.toFixed(Math.max(0, figures - 1 - exponent));
}

function formatApart(a, b) { // with as many figures as tell them apart, as numbers.format_apart
  for (let figures = 3; figures < MOST_FIGURES; figures++) {
    if (a === b || formatNumber(a, figures) !== formatNumber(b, figures)) return [formatNumber(a, figures), formatNumber(b, figures)];
  }
  return [formatNumber(a, MOST_FIGURES), formatNumber(b, MOST_FIGURES)];
}

function along(value, slider) { // where the thumb's centre stands for a value; the thumb is 16 CSS pixels wide
  return `calc(${Math.min(1, Math.max(0, value / slider.max))} * (100% - 16px) + 8px)`;
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector("." + name);
    for (const name of ["stage", "layers", "picture", "heat", "lines", "readout", "slider", "opacity"]) {
      this[name] = this.find(name);
    }
    this.reveal = new Reveal(this.find("divider"), () => this.drawReveal());
    this.zoom = new Zoom(this.stage, this.find("tools"), () => this.move());
    this.table = new RegionTable(this.find("regions"), this.find("more"), {
      point: (region) => this.light(region),
      mark: (region) => this.mark(region === this.selected ? null : region),
    });
    this.keys = new PageKeys(root, (event, key) => this.pageKey(event, key));
    this.head = null;
    this.others = []; // further maps, on the scale of the threshold
    this.selected = null; // number of the region that was clicked
    this.lit = null; // and of the one under the pointer, in the picture or in the table
    this.view = "overlay";
    this.heatView = "overlay"; // where the heat comes back to
    this.listen();
    new ResizeObserver(() => this.place()).observe(this.stage);
  }

  // ---- data ----

  update(head) {
    const before = this.head;
    this.head = head;
    if (before?.limit !== head.limit) this.trial = head.limit; // else it stays from image to image
    if (before?.opacity !== head.opacity) this.opacity.value = Math.round(100 * head.opacity);
    this.colours = new Uint32Array(head.blob("heat").buffer);
    this.solid = this.colours.map((rgba) => rgba | 0xff000000);
    this.stage.style.setProperty("--aspect", `${head.width} / ${head.height}`);
    this.root.toggleAttribute("data-one-screen", head.oneScreen);
    this.offerViews();
    if (head.begin && before?.begin?.turn !== head.begin.turn) this.beginWith(head.begin);
    if (before?.id !== head.id || before.limit !== head.limit) this.selected = null; // else what was clicked stays marked
    if (before?.id !== head.id) {
      this.load(head);
    } else if (this.analysis) {
      this.takeOthers();
      this.refresh();
    }
  }

  async load(head) {
    delete this.root.dataset.ready;
    const bitmap = await createImageBitmap(new Blob([head.blob("image")], { type: "image/jpeg" }));
    if (this.head.id !== head.id) return; // the user went on to another image meanwhile
    Object.assign(this.picture, { width: bitmap.width, height: bitmap.height });
    this.picture.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.analysis = new Analysis(new Float32Array(head.blob("map").buffer), head.map.width, head.map.height);
    this.levels = head.levels && head.blob("levels");
    this.takeOthers();
    this.truthLine = head.mask && truthOutline(head.blob("mask"), head.mask);
    this.find("truth").hidden = !head.mask;
    this.zoom.scale = 1;
    this.readout.value = "";
    this.lit = null;
    this.refresh();
    this.place();
    this.root.dataset.ready = head.id;
  }

  takeOthers() {
    const { head } = this;
    this.others = head.others.map((plane, i) => ({ ...plane, values: new Float32Array(head.blob(`other-${i + 1}`).buffer) }));
  }

  offerViews() {
    const names = [["overlay", "Overlay"], ["image", "Image"], ["compare", "Compare"], ["map", "Map"]];
    (this.head.levels?.names ?? []).forEach((name, i) => names.push([`level-${i + 1}`, name]));
    this.head.others.forEach(({ name }, i) => names.push([`other-${i + 1}`, name]));
    const wanted = JSON.stringify(names);
    if (wanted === this.offered) return;
    this.offered = wanted;
    this.views = names.map(([value]) => value);
    if (!this.views.includes(this.view)) this.view = this.heatView = "overlay";
    const group = this.find("views");
    group.querySelectorAll("label").forEach((label) => label.remove());
    for (const [value, text] of names) {
      const label = document.createElement("label"), span = document.createElement("span");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "view", value, checked: value === this.view });
      span.textContent = text;
      label.append(input, span);
      group.append(label);
    }
  }

  get plane() { // what heat is made of: scores on the scale of the threshold, or the bytes of a level on their own scale
    const [kind, number] = this.view.split("-"), i = number - 1;
    if (kind === "other") return this.others[i];
    if (kind !== "level") return { ...this.head.map, values: this.analysis.values };
    const { levels } = this.head, size = levels.width * levels.height;
    return { ...levels, bytes: this.levels.subarray(i * size, (i + 1) * size) };
  }

  get onPicture() { // heat lies on the picture, which shows through
    return !/^(map|level)/.test(this.view);
  }

  // ---- what is shown ----

  refresh() { // new data, limit or range
    const { limit, top } = this.head, { slider } = this;
    this.step = 10 ** Math.floor(Math.log10(Math.abs(limit) || Math.abs(top) || 1)) / STEPS_PER_DECADE;
    const high = Math.max(top, this.analysis.peak, limit * 1.25, this.trial);
    Object.assign(slider, { min: 0, max: Math.ceil((high * 1.02) / this.step), step: 1 });
    this.find("tick").style.setProperty("--at", along(limit / this.step, slider));
    this.draw();
  }

  draw() { // everything that hangs on the threshold
    const { head, trial } = this;
    // the model's own limits are two where a defective pixel has another than a rejected part
    this.analysis.scan(trial === head.limit ? head.pixel : trial);
    this.table.show(this.analysis.regions.map((region) => inImage(region, head)), head.pitch);
    this.lit = null;
    this.outline = this.analysis.outline();
    this.scale = heatScale(trial, head.top);
    this.drawHeat();
    this.drawLines();
    this.tell();
  }

  drawHeat() {
    const { heat } = this, { width, height, values, bytes } = this.plane;
    this.tellOpacity();
    heat.style.visibility = this.view === "image" ? "hidden" : "visible";
    if (!this.pixels || heat.width !== width || heat.height !== height) {
      Object.assign(heat, { width, height });
      this.pixels = new ImageData(width, height);
    }
    const out = new Uint32Array(this.pixels.data.buffer);
    if (values) paintScores(out, values, this.onPicture ? this.colours : this.solid, this.scale);
    else paintLevel(out, bytes, this.solid);
    heat.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  drawLines() {
    if (!this.box || !this.analysis) return;
    const { lines, stage, head, box, zoom } = this, ratio = window.devicePixelRatio;
    const width = Math.round(stage.clientWidth * ratio), height = Math.round(stage.clientHeight * ratio);
    if (lines.width !== width || lines.height !== height) Object.assign(lines, { width, height });
    const drawn = new Lines(lines, {
      left: box.left * zoom.scale + zoom.x,
      top: box.top * zoom.scale + zoom.y,
      width: box.width * zoom.scale,
      height: box.height * zoom.scale,
    }, ratio);
    if (this.find("show-outlines").checked) drawn.stroke(this.outline, head.map);
    if (this.truthLine && this.find("show-truth").checked) {
      drawn.stroke(this.truthLine, head.mask, { colour: TRUTH, dash: [5, 4] });
    }
    const { analysis } = this;
    if (this.find("show-boxes").checked) drawn.boxes(analysis.regions, head.map);
    for (const i of new Set([this.selected, this.lit])) {
      const region = analysis.regions[i];
      if (region) drawn.emphasise(i, region, analysis.outlineOf(i), head.map);
    }
  }

  drawReveal() { // in the view "Compare" heat and lines begin at the divider
    const { box, zoom, stage, heat, lines, reveal } = this, comparing = this.view === "compare";
    reveal.handle.hidden = this.find("divides").hidden = !comparing;
    heat.style.clipPath = lines.style.clipPath = "";
    if (!comparing || !box) return;
    const left = box.left * zoom.scale + zoom.x, width = box.width * zoom.scale;
    const x = reveal.place(Math.max(0, left), Math.min(stage.clientWidth, left + width));
    heat.style.clipPath = `inset(0 0 0 ${(100 * (x - left)) / width}%)`;
    lines.style.clipPath = `inset(0 0 0 ${x}px)`;
  }

  tell() { // numbers and words
    const { analysis, head, trial, root, slider } = this;
    const atLimit = trial === head.limit, regions = analysis.regions.length;
    const marked = analysis.regions[this.selected] ? this.selected + 1 : "";
    Object.assign(root.dataset, { threshold: trial, above: analysis.above, regions, marked });
    const shown = Math.round(trial / this.step);
    if (Number(slider.value) !== shown) slider.value = shown;
    slider.style.setProperty("--fill", along(shown, slider));
    slider.setAttribute("aria-valuetext", formatNumber(trial) + (atLimit ? ", the model's limit" : ""));
    this.find("value").value = formatNumber(trial);
    this.find("reset").disabled = atLimit;
    this.tellVerdict(atLimit);
    const share = formatNumber((100 * analysis.above) / analysis.values.length);
    const many = regions === 1 ? "1 region" : `${regions} regions`;
    const unit = head.pitch ? "mm" : "pixels of the image";
    const found = regions ? `${many} above ${formatNumber(analysis.threshold)}, ${share} % of the area, in ${unit}` : "No region is above the limit.";
    this.find("found").textContent = found;
    this.table.mark(this.selected, this.lit);
    this.tellAbout(atLimit);
    this.tellLegend();
  }

  verdict(atLimit) { // against the limit that is shown; between review and limit only the model's own limits decide
    const { head, trial } = this;
    if (head.refused) return "CANNOT JUDGE";
    if (!head.judged) return null;
    if (head.score > trial) return "NG";
    return atLimit && head.review !== null && head.score > head.review ? "REVIEW" : "OK";
  }

  tellVerdict(atLimit) {
    const { head, trial } = this, name = this.verdict(atLimit), look = head.verdicts[name];
    const rejected = name === "NG", badge = this.find("verdict"), shape = this.find("shape");
    this.find("word").textContent = look?.word ?? "";
    badge.title = look?.meaning ?? "";
    shape.hidden = !look;
    badge.dataset.verdict = name ?? "";
    this.find("reason").textContent = this.reason(name, atLimit);
    const paint = look ? { clipPath: look.shape, background: rejected ? head.onReject : look.colour } : {};
    Object.assign(shape.style, paint);
    const ink = rejected ? head.onReject : "inherit";
    Object.assign(badge.style, { borderColor: look?.colour ?? "", background: rejected ? look.colour : "transparent", color: ink });
  }

  reason(name, atLimit) {
    const { head, trial } = this;
    if (!head.judged) return `score ${formatNumber(head.score)}, no limit`;
    const against = name === "REVIEW" ? head.review : trial, [score, limit] = formatApart(head.score, against);
    const word = name === "REVIEW" ? "for review above" : atLimit ? "limit" : "if the limit were";
    return `${score}, ${word} ${limit}`;
  }

  tellAbout(atLimit) { // what is known of the image, and what the verdict makes of it
    const { head } = this, notes = [...head.notes];
    if (head.truth !== null) {
      const good = head.truth === "good", verdict = this.verdict(atLimit);
      notes.unshift([`The data set says: ${good ? "good part" : head.truth.startsWith("defect") ? "defect" : `defect, ${head.truth}`}.`, false]);
      if (good && verdict === "NG") notes.push(["A false reject: a good part above the limit.", true]);
      if (!good && verdict === "OK") notes.push(["An escape: a defect that passes as OK.", true]);
    }
    if (!atLimit && head.judged) notes.push(["Against the trial limit of the slider, not the model's.", true]);
    this.find("title").textContent = head.title;
    this.find("notes").replaceChildren(...notes.map(([text, warns]) => {
      const note = document.createElement("div");
      note.textContent = text;
      note.classList.toggle("warns", warns);
      return note;
    }));
  }

  tellOpacity() {
    const { opacity } = this;
    this.heat.style.opacity = this.onPicture ? opacity.value / 100 : 1;
    this.find("percent").value = opacity.value + " %";
    opacity.style.setProperty("--fill", along(opacity.value, opacity));
  }

  tellLegend() {
    const { head, trial, scale } = this, level = this.view.startsWith("level");
    const table = this.onPicture ? this.colours : this.solid;
    const strip = new ImageData(1, 256), out = new Uint32Array(strip.data.buffer);
    for (let y = 0; y < 256; y++) out[y] = table[Math.round(((255 - y) * (table.length - 1)) / 255)];
    this.find("strip").getContext("2d").putImageData(strip, 0, 0);
    const top = formatNumber(level ? head.levels.top : Math.max(head.top, trial));
    const middle = level ? "" : formatNumber(trial), limitMark = this.find("mark-limit");
    this.find("legend-top").textContent = top;
    this.find("legend-middle").textContent = middle;
    this.find("mark-trial").hidden = level;
    limitMark.hidden = level || trial === head.limit;
    limitMark.style.top = `${100 * (1 - scale.position(head.limit))}%`;
    const words = `Colours from 0 to ${top}` + (middle && `, threshold ${middle} in the middle`);
    this.find("legend").setAttribute("aria-label", words);
  }

  // ---- place, zoom, point ----

  place() { // the picture as large as it fits
    if (!this.head) return;
    const { clientWidth, clientHeight } = this.stage, { width, height } = this.head;
    const fit = Math.min(clientWidth / width, clientHeight / height);
    const left = (clientWidth - width * fit) / 2, top = (clientHeight - height * fit) / 2;
    this.box = { left, top, width: width * fit, height: height * fit };
    Object.assign(this.layers.style, { width: `${this.box.width}px`, height: `${this.box.height}px` });
    this.move();
  }

  move() {
    const { zoom, stage, box } = this;
    zoom.settle();
    const x = box.left * zoom.scale + zoom.x, y = box.top * zoom.scale + zoom.y;
    this.layers.style.transform = `translate(${x}px, ${y}px) scale(${zoom.scale})`;
    const enlarged = (box.width * zoom.scale * window.devicePixelRatio) / this.picture.width;
    this.picture.classList.toggle("sharp", enlarged > 8); // single pixels are worth seeing
    this.drawReveal();
    this.drawLines();
  }

  onPart(event) { // shares of the picture's sides, or null outside of it
    if (!this.box || !this.analysis) return null;
    const { zoom, box } = this, [sx, sy] = zoom.onStage(event);
    const u = ((sx - zoom.x) / zoom.scale - box.left) / box.width;
    const v = ((sy - zoom.y) / zoom.scale - box.top) / box.height;
    return u < 0 || v < 0 || u >= 1 || v >= 1 ? null : [u, v];
  }

  point(event) {
    const place = this.onPart(event), region = place && this.regionAt(place);
    this.stage.classList.toggle("over", region !== null);
    this.light(region);
    if (!place) {
      this.readout.value = "";
      return;
    }
    const [u, v] = place, { head, plane } = this, { width, height, values, bytes } = plane;
    const i = Math.floor(v * height) * width + Math.floor(u * width);
    const score = values ? values[i] : (bytes[i] / 255) * plane.top;
    const x = Math.floor(u * head.width), y = Math.floor(v * head.height);
    this.readout.value = `${formatNumber(score)} at x ${x}, y ${y}`;
  }

  regionAt([u, v]) { // the region itself, else the smallest box around; small regions would be hard to hit
    const { analysis, box, zoom } = this, { width, height } = this.head.map, x = u * width, y = v * height;
    const inside = analysis.regionAt(Math.floor(x), Math.floor(y));
    if (inside >= 0) return inside;
    const reach = (REACH * width) / (box.width * zoom.scale), reachDown = (REACH * height) / (box.height * zoom.scale);
    let nearest = null, smallest = Infinity;
    analysis.regions.forEach(({ x0, y0, x1, y1 }, i) => {
      const size = (x1 - x0) * (y1 - y0);
      const within = x >= x0 - reach && x < x1 + reach && y >= y0 - reachDown && y < y1 + reachDown;
      if (within && size < smallest) [nearest, smallest] = [i, size];
    });
    return nearest;
  }

  light(region) {
    if (region === this.lit) return;
    this.lit = region;
    this.drawLines();
    this.table.mark(this.selected, region);
  }

  mark(region) {
    if (region === this.selected) return;
    this.selected = region;
    this.drawLines();
    this.tell();
  }

  // ---- controls ----

  listen() {
    const { root, slider, opacity } = this;
    slider.addEventListener("input", () => this.setTrial(Number(slider.value) * this.step));
    slider.addEventListener("change", () => this.tellPython());
    opacity.addEventListener("input", () => this.tellOpacity());
    this.find("reset").addEventListener("click", () => {
      this.setTrial(this.head.limit);
      this.tellPython();
      slider.focus(); // the button is disabled now and would lose the focus
    });
    this.find("views").addEventListener("change", (event) => this.show(event.target.value));
    this.find("full").addEventListener("click", () => this.fill());
    this.find("shows").addEventListener("change", () => this.drawLines());
    root.addEventListener("keydown", (event) => this.key(event));
    this.listenToStage();
  }

  listenToStage() {
    const { stage } = this;
    let pressed = [0, 0];
    stage.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
    stage.addEventListener("click", (event) => {
      const place = this.onPart(event), moved = Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]);
      if (place && moved <= STILL && !event.target.closest(".tools, .divider")) this.mark(this.regionAt(place));
    });
    stage.addEventListener("pointerleave", () => {
      this.readout.value = "";
      this.light(null);
    });
    stage.addEventListener("pointermove", (event) => this.point(event));
  }

  setTrial(value) {
    if (!this.analysis) return;
    const inRange = Math.min(this.slider.max * this.step, Math.max(0, value));
    const onGrid = Number((Math.round(inRange / this.step) * this.step).toPrecision(12));
    // the limit itself is seldom on the grid of the slider; its own place stands for it
    const isLimit = Math.round(this.head.limit / this.step) === Math.round(onGrid / this.step);
    const before = this.trial;
    this.trial = isLimit ? this.head.limit : onGrid;
    if (this.trial !== before) this.selected = null; // another threshold makes other regions
    this.draw();
  }

  show(view) {
    this.take(view);
    this.drawReveal();
    if (!this.analysis) return;
    this.drawHeat();
    this.tellLegend();
    this.tellPython();
  }

  take(view) {
    if (!this.views.includes(view)) return;
    this.view = view;
    if (view !== "image") this.heatView = view;
    this.find("views").querySelector(`input[value="${view}"]`).checked = true;
  }

  beginWith({ view, threshold }) {
    if (view !== null) this.take(view);
    if (threshold !== null) this.trial = threshold;
    this.tellPython();
  }

  fill() { // the whole screen, or back
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => {}); // a browser may refuse: then the page stays as it is
  }

  pageKey(event, key) { // wherever the focus is
    if (!this.analysis) return false;
    if (key === "h") this.show(this.view === "image" ? this.heatView : "image");
    else if (key === "f") this.fill();
    else if (key === "0") this.zoom.whole();
    else if (/^[+=−-]$/.test(key)) this.nudge(/[+=]/.test(key) ? 10 : -10); // the third significant figure
    else return false;
    return true;
  }

  key(event) {
    if (!this.analysis || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = [this.slider, this.stage, this.reveal.handle].includes(event.target);
    const arrow = own ? { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key] : undefined;
    if (!arrow) return;
    this.nudge(arrow * (event.shiftKey ? 100 : 10));
    event.preventDefault();
    event.stopPropagation();
  }

  nudge(steps) {
    this.setTrial(this.trial + steps * this.step);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tellPython(), TELL_AFTER); // a held key is one change
  }

  tellPython() {
    clearTimeout(this.telling);
    const { trial, head, view } = this;
    this.report({ threshold: trial, limit: head.limit, view });
  }
}
