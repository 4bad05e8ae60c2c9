// The board in the browser; numbers.js and plot.js stand before this text in the same module. Python packs one payload
// (envelope.py): the scores, what mistakes cost, and where it set the limits last. Everything that hangs on a limit is
// counted here while it moves. Python hears of the limits when they are released.

const BOARDS = new WeakMap();
const NAMES = ["review", "reject"];
const WORD = { review: "REVIEW", reject: "NG" };
const STEPS = 250; // of an arrow, over the range of the scores

export default function ({ data, parentElement, setStateValue }) {
  let board = BOARDS.get(parentElement);
  if (!board) {
    board = new Board(parentElement.querySelector(".board"));
    BOARDS.set(parentElement, board);
  }
  board.report = (choice) => setStateValue("choice", choice);
  board.update(unpack(data));
}

function unpack(bytes) {
  const start = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  head.groups.forEach((group, i) => { // a copy, because a Float64Array must start at a multiple of eight bytes
    const [offset, length] = head.blobs[String(i)];
    group.scores = new Float64Array(bytes.slice(start + offset, start + offset + length).buffer).sort();
  });
  return head;
}

function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function images(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

class Board {
  constructor(root) {
    Object.assign(this, { root, head: null });
    this.find = (name) => root.querySelector("." + name);
    this.plot = new Plot(this.find("chart"));
    this.listen();
    new ResizeObserver(() => this.layOut()).observe(this.find("plot"));
  }

  // ---- data ----

  update(head) {
    const before = this.head, of = (kinds) => head.groups.filter((g) => kinds.includes(g.kind));
    this.head = head;
    this.certain = sortedScores(of(["held-out", "new"]).map((group) => group.scores));
    const labelled = sortedScores(of(["labelled"]).map((group) => group.scores));
    this.good = labelled.length ? labelled : this.certain; // as in Python: labelled good parts where there are any
    this.defects = of(["defect"]);
    this.defect = sortedScores(this.defects.map((group) => group.scores));
    if (before?.turn !== head.turn) this.limits = { ...head.limits }; // else the user's own are newer
    this.find("for-types").hidden = this.defects.length < 2;
    for (const name of NAMES) this.paintShape(name);
    if (before?.turn !== head.turn || before.content !== head.content) {
      this.fitRange(); // not after a move: the scale would jump under the pointer
      this.layOut();
    } else {
      this.tell();
    }
    this.root.dataset.ready = head.turn;
  }

  paintShape(name) {
    const look = this.head.verdicts[WORD[name]];
    Object.assign(this.root.querySelector(`.typed[data-limit="${name}"] .shape`).style, { clipPath: look.shape, background: look.colour });
    this.root.style.setProperty(`--${name}`, look.colour);
    this.root.style.setProperty("--pass", this.head.verdicts.OK.colour);
  }

  fitRange() { // the scores and the limits with some room, on numbers that stay while a limit moves
    const { good, certain, defect, limits } = this;
    const all = [...[good, certain, defect].filter((list) => list.length).flatMap((list) => [list[0], list.at(-1)]), limits.reject];
    if (limits.review !== null) all.push(limits.review);
    const low = Math.min(...all), high = Math.max(...all), room = (high - low || Math.abs(high) || 1) * 0.06;
    const positive = low > 0;
    this.range = [positive ? Math.max(low - room, low / 2) : low - room, high + room];
    const power = 10 ** Math.floor(Math.log10((this.range[1] - this.range[0]) / STEPS));
    this.step = power * [1, 2, 5, 10].find((times) => times * power >= (this.range[1] - this.range[0]) / STEPS);
    this.find("for-log").hidden = !positive;
    if (!positive) this.find("log").checked = false;
  }

  // ---- what is shown ----

  layOut() {
    const width = this.find("plot").clientWidth;
    if (!this.head || width === 0) return;
    this.plot.arrange({ width, range: this.range, log: this.find("log").checked });
    this.plot.drawLanes(this.lanes());
    this.tell();
  }

  lanes() {
    const titled = ({ name, kind, scores }, small) => ({ kind, scores, small, title: `${name}, ${images(scores.length, "image")}` });
    const good = this.head.groups.filter((group) => group.kind !== "defect" && group.scores.length);
    const lanes = good.map((group) => titled(group, false));
    if (this.byType) lanes.push(...this.defects.map((group) => titled({ ...group, name: `Defects, ${group.name}` }, true)));
    else if (this.defect.length) lanes.push(titled({ name: "Defects", kind: "defect", scores: this.defect }, false));
    return lanes;
  }

  get byType() {
    return this.defects.length > 1 && this.find("by-type").checked;
  }

  tell() { // everything that hangs on the limits
    const { limits, root, head } = this;
    const good = countVerdicts(this.good, limits), defect = countVerdicts(this.defect, limits);
    const found = consequences(good, defect, head);
    this.plot.moveLimits(limits, this.spoken());
    for (const name of NAMES) {
      const input = this.find(`type-${name}`);
      if (this.root.getRootNode().activeElement !== input) input.value = limits[name] === null ? "" : formatNumber(limits[name]);
    }
    root.querySelector('.typed[data-limit="review"]').classList.toggle("off", limits.review === null);
    this.find("type-review").disabled = limits.review === null;
    this.find("with-review").checked = limits.review !== null;
    this.find("reset").disabled = limits.review === head.proposal.review && limits.reject === head.proposal.reject;
    this.tellFigures(found, good, defect);
    this.tellConfusion(good, defect);
    const promised = this.tellPromises();
    Object.assign(root.dataset, {
      review: limits.review ?? "", reject: limits.reject, falseRejects: found.falseRejects, escapes: found.escapes ?? "",
      reviews: found.reviews ?? "", cost: found.cost ?? "", good: [good.ok, good.review, good.ng].join(),
      defect: [defect.ok, defect.review, defect.ng].join(), certified: promised?.certified ?? "",
      low: promised?.low ?? "", high: promised?.high ?? "",
    });
  }

  spoken() { // a limit as a screen reader says it
    return Object.fromEntries(NAMES.map((name) => {
      const at = this.limits[name];
      return [name, at === null ? "" : `${formatNumber(at)}, ${countAbove(this.good, at)} of ${images(this.good.length, "good part")} above`];
    }));
  }

  tellFigures({ falseRejects, escapes, reviews, cost }, good, defect) {
    const { costs, unit } = this.head, noDefects = "no defects known";
    const ofDefects = defect.total ? ` and ${defect.review} of ${images(defect.total, "defect")}` : "";
    const rows = [
      ["False rejects", "Good parts that are rejected", falseRejects, `${good.ng} of ${images(good.total, "good part")}`],
      ["Escapes", "Defective parts that pass", escapes, defect.total ? `${defect.ok} of ${images(defect.total, "defect")}` : noDefects],
      ["To review", "Parts a person looks at", reviews, reviews === null ? noDefects : `${good.review} of ${good.total} good${ofDefects}`],
      ["Cost", "What these come to", cost, costs ? (cost === null ? noDefects : unit) : "no costs given"],
    ];
    this.find("figures").replaceChildren(...rows.map(([name, about, value, basis]) => {
      const row = element("div"), term = element("dt", "", name), number = element("dd", "number", value === null ? "–" : formatNumber(value));
      term.title = about;
      if (name === "Cost" && value !== null) number.textContent += ` ${unit}`;
      row.append(term, number, element("dd", "basis", name === "Cost" && value !== null ? "" : basis));
      return row;
    }));
  }

  tellConfusion(good, defect) {
    const head = element("tr"), verdicts = ["OK", "REVIEW", "NG"].filter((name) => name !== "REVIEW" || this.limits.review !== null);
    head.append(element("th"), ...verdicts.map((name) => {
      const cell = element("th"), shape = element("i", "shape"), look = this.head.verdicts[name];
      Object.assign(shape.style, { clipPath: look.shape, background: look.colour });
      cell.append(shape, name);
      cell.scope = "col";
      return cell;
    }), element("th", "", "all"));
    const row = (name, counts, wrong, small) => {
      const line = element("tr", small ? "type" : ""), title = element("th", "", name);
      title.scope = "row";
      line.append(title, ...verdicts.map((verdict) => {
        const n = counts[verdict.toLowerCase()], cell = element("td", verdict === wrong && n ? "wrong" : "", String(n));
        if (verdict === wrong) cell.title = wrong === "NG" ? "false rejects" : "escapes";
        return cell;
      }), element("td", "all", String(counts.total)));
      return line;
    };
    const rows = [row("Good", good, "NG", false)];
    if (defect.total) rows.push(row("Defect", defect, "OK", false));
    if (this.byType) rows.push(...this.defects.map((group) => row(group.name, countVerdicts(group.scores, this.limits), "OK", true)));
    if (!defect.total) {
      const line = element("tr"), cell = element("td", "none", "No defects known: escapes cannot be counted.");
      cell.colSpan = verdicts.length + 2;
      line.append(cell);
      rows.push(line);
    }
    this.find("confusion").tHead.replaceChildren(head);
    this.find("confusion").tBodies[0].replaceChildren(...rows);
  }

  tellPromises() { // returns that of the reject limit
    const { certain, limits } = this;
    if (!certain.length) {
      this.find("promises").replaceChildren(element("p", "", "No held-out normals: nothing can be promised about new good parts."));
      return null;
    }
    const lines = NAMES.filter((name) => limits[name] !== null).map((name) => ({ name, ...promise(certain, limits[name]) }));
    this.find("promises").replaceChildren(...lines.reverse().map(({ name, n, certified, low, high }) => {
      const line = element("p"), shape = element("i", "shape"), look = this.head.verdicts[WORD[name]];
      Object.assign(shape.style, { clipPath: look.shape, background: look.colour });
      const does = name === "reject" ? "rejected" : "reviewed or rejected";
      const words = low === null
        ? `${images(n, "normal")}: all are ${does} at this limit; nothing is promised.`
        : `${images(n, "normal")}: at most ${formatRate(certified)} of new good parts ${does} at this limit, 95 % interval ${formatRate(low).replace(" %", "")}–${formatRate(high)}.`;
      line.append(shape, element("span", "", words));
      line.dataset.limit = name;
      return line;
    }));
    return lines.find((line) => line.name === "reject");
  }

  // ---- moving ----

  set(name, value) { // review stays below reject
    const { limits } = this, [low, high] = this.range;
    const floor = name === "reject" ? limits.review ?? low : low, top = name === "review" ? limits.reject : high;
    this.limits = { ...limits, [name]: Math.min(top, Math.max(floor, value)) };
    this.tell();
  }

  listen() {
    for (const name of NAMES) {
      this.listenToPointer(name);
      this.plot.limits[name].handle.addEventListener("keydown", (event) => this.press(event, name));
      this.plot.limits[name].handle.addEventListener("keyup", () => this.keyed && this.tellPython());
      this.plot.limits[name].handle.addEventListener("focusout", () => this.keyed && this.tellPython());
      this.find(`type-${name}`).addEventListener("change", () => this.typed(name));
      this.find(`type-${name}`).addEventListener("blur", () => this.head && this.tell());
      this.find(`type-${name}`).addEventListener("keydown", (event) => event.key === "Enter" && this.typed(name));
    }
    this.find("with-review").addEventListener("change", (event) => this.toggleReview(event.target.checked));
    this.find("by-type").addEventListener("change", () => this.layOut());
    this.find("log").addEventListener("change", () => this.layOut());
    this.find("reset").addEventListener("click", () => {
      this.limits = { ...this.head.proposal };
      this.fitRange();
      this.layOut();
      this.tellPython();
    });
  }

  listenToPointer(name) {
    const { group, handle } = this.plot.limits[name];
    group.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.head) return;
      group.setPointerCapture(event.pointerId);
      this.grip = { offset: this.plot.x(this.limits[name]) - this.onPlot(event), moved: false };
      handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    group.addEventListener("pointermove", (event) => {
      if (!this.grip || !group.hasPointerCapture(event.pointerId)) return;
      this.grip.moved = true;
      const fine = this.step / 10, value = this.plot.value(this.onPlot(event) + this.grip.offset);
      this.set(name, Number((Math.round(value / fine) * fine).toPrecision(12)));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      group.addEventListener(end, () => {
        if (this.grip?.moved) this.tellPython();
        this.grip = null;
      });
    }
  }

  onPlot(event) {
    return event.clientX - this.find("chart").getBoundingClientRect().left;
  }

  press(event, name) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    const step = this.step * (event.shiftKey ? 10 : 1);
    this.set(name, Number((Math.round(this.limits[name] / this.step) * this.step + way * step).toPrecision(12)));
    this.keyed = true;
    event.preventDefault();
    event.stopPropagation();
  }

  typed(name) {
    const input = this.find(`type-${name}`), text = input.value.trim().replace(",", ".");
    if (text === formatNumber(this.limits[name])) return; // untouched: the exact limit stays
    const value = text === "" ? NaN : Number(text), { review, reject } = this.limits;
    const problem = !Number.isFinite(value) ? `"${input.value}" is no number; the limit stays.`
      : name === "review" && value > reject ? `REVIEW must not be above NG (${formatNumber(reject)}).`
        : name === "reject" && review !== null && value < review ? `NG must not be below REVIEW (${formatNumber(review)}).` : "";
    this.find("problem").textContent = problem;
    input.setAttribute("aria-invalid", String(Boolean(problem)));
    if (problem) return;
    this.limits = { ...this.limits, [name]: value };
    this.fitRange();
    this.layOut();
    input.value = formatNumber(value);
    this.tellPython();
  }

  toggleReview(on) { // a band starts halfway between a usual good part and the reject limit
    const { reject } = this.limits, usual = this.good[this.good.length >> 1] ?? this.range[0];
    this.limits = { reject, review: on ? (this.head.proposal.review ?? Math.min(reject, (usual + reject) / 2)) : null };
    if (on && this.limits.review > reject) this.limits.review = reject;
    this.fitRange();
    this.layOut();
    this.tellPython();
  }

  tellPython() {
    this.keyed = false;
    this.find("problem").textContent = "";
    this.report({ ...this.limits, turn: this.head.turn });
  }
}
