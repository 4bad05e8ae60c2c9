// The gallery in the browser. Python packs one payload (envelope.py): tiles, their thumbnails, and where Python set the
// selection last. A choice of the user is shown at once and told to Python, which does not send it back.

const GALLERIES = new WeakMap();
const SHOWN = new Map(); // by widget key: what was selected before the page was drawn anew
const REPORT_AFTER = 120; // ms without another key: a held arrow is one choice
const ROWS = 2.2; // at most, see gallery.css
const FILTERS = ["NG", "REVIEW", "OK", "CANNOT JUDGE", "Unreadable"];

export default function ({ data, key, parentElement, setStateValue }) {
  let gallery = GALLERIES.get(parentElement);
  if (!gallery) {
    gallery = new Gallery(parentElement.querySelector(".gallery"), key);
    GALLERIES.set(parentElement, gallery);
  }
  gallery.report = (choice) => setStateValue("choice", choice);
  gallery.update(data);
  return gallery.attach();
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

class Gallery {
  constructor(root, key) {
    Object.assign(this, { root, key, head: null, tiles: [], filter: "All", urls: [] });
    this.find = (name) => root.querySelector("." + name);
    this.strip = this.find("strip");
    this.keys = new PageKeys(root, (event) => /^(ArrowLeft|ArrowRight|\d)$/.test(event.key) && this.press(event));
    const options = { root: this.strip, rootMargin: "200px" };
    this.seen = new IntersectionObserver((entries) => this.loadPictures(entries), options);
    this.strip.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) this.choose(tile, { wait: 0 });
    });
    this.find("filters").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.show(button.dataset.filter);
    });
    root.addEventListener("keydown", (event) => {
      if (!this.press(event)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    new ResizeObserver(() => this.place()).observe(this.strip);
  }

  attach() { // returns what takes it off the page again, unless it was drawn anew meanwhile
    const detach = this.keys.attach();
    return () => {
      if (!detach()) return;
      clearTimeout(this.timer);
      this.seen.disconnect();
      this.revoke();
    };
  }

  // ---- data ----

  update(bytes) {
    const start = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
    const before = this.head ?? SHOWN.get(this.key), isNew = this.head?.list !== head.list;
    this.blob = (i) => { // a thumbnail as bytes
      const [offset, length] = head.blobs[i];
      return bytes.subarray(start + offset, start + offset + length);
    };
    this.head = head;
    const hadFocus = this.inStrip;
    this.root.toggleAttribute("data-film", head.film);
    if (isNew) this.load(head);
    const followed = before?.turn !== head.turn;
    if (!isNew && !followed) return;
    if (followed) clearTimeout(this.timer);
    const kept = this.byId.get(followed ? head.selected : (this.current ?? before.id)) ?? this.byId.get(head.selected);
    this.select(kept);
    if (hadFocus) this.stop?.focus({ preventScroll: true });
    this.root.dataset.ready = head.list;
  }

  load({ items }) {
    this.seen.disconnect();
    this.revoke();
    this.tiles = items.map((item, i) => this.tile(item, i));
    this.byId = new Map(this.tiles.map((tile) => [tile.item.id, tile]));
    this.root.toggleAttribute("data-truth", items.some((item) => item.truth !== null));
    this.root.dataset.count = items.length;
    this.strip.scrollTo(0, 0);
    this.strip.replaceChildren(...this.tiles);
    this.tiles.forEach((tile) => tile.item.score !== null && this.seen.observe(tile));
    this.offerFilters();
    this.place();
  }

  tile(item, i) {
    const tile = element("div", "tile"), frame = element("div", "frame"), score = element("div", "score");
    Object.assign(tile, { item, i, kind: item.score === null ? "Unreadable" : item.verdict, tabIndex: -1 });
    tile.dataset.id = item.id;
    tile.setAttribute("role", "option");
    tile.setAttribute("aria-selected", "false");
    if (item.score === null) frame.append(element("span", "unreadable", "Unreadable"));
    if (item.verdict) {
      const shape = element("i", "shape"), look = this.head.verdicts[item.verdict];
      Object.assign(shape.style, { clipPath: look.shape, background: look.colour });
      score.append(shape);
    }
    score.append(item.score ?? "–");
    frame.append(element("span", "name", item.name));
    const truth = element("div", "truth");
    if (item.mistake) truth.append(element("b", "mistake", "≠"));
    if (item.truth !== null) truth.append(element("span", "", item.truth));
    const labelled = item.truth && `labelled ${item.truth}`;
    const words = [item.verdict, item.score && `score ${item.score}`, labelled, item.mistake];
    if (item.score === null) words.push(item.error ?? "could not be read");
    const told = words.filter(Boolean).join(", ");
    tile.title = `${item.name}\n${told}`;
    tile.setAttribute("aria-label", `${item.name}, ${told}`);
    tile.append(frame, score, truth);
    return tile;
  }

  loadPictures(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.seen.unobserve(target);
      const bytes = this.blob(target.i);
      if (!bytes.length) continue;
      const picture = Object.assign(new Image(), { alt: "", decoding: "async", draggable: false });
      picture.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
      this.urls.push(picture.src);
      target.firstChild.prepend(picture);
    }
  }

  revoke() {
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = [];
  }

  // ---- filter ----

  offerFilters() { // only kinds that exist, and none where all tiles are of no kind
    const kinds = FILTERS.filter((kind) => this.tiles.some((tile) => tile.kind === kind));
    this.filters = kinds.length ? ["All", ...kinds] : [];
    const buttons = this.filters.map((kind, i) => {
      const button = element("button", "", kind), shape = this.head.verdicts[kind];
      const many = kind === "All" ? this.tiles.length : this.tiles.filter((tile) => tile.kind === kind).length;
      Object.assign(button, { type: "button", title: `Key ${i + 1}` });
      button.dataset.filter = kind;
      if (shape) {
        const icon = element("i", "shape");
        Object.assign(icon.style, { clipPath: shape.shape, background: shape.colour });
        button.prepend(icon);
      }
      button.append(element("span", "count", String(many)));
      return button;
    });
    this.find("filters").replaceChildren(...buttons);
    this.find("filter-keys").hidden = !kinds.length;
    this.find("last-filter").textContent = String(this.filters.length);
    this.show(this.filters.includes(this.filter) ? this.filter : "All");
  }

  show(filter) {
    this.filter = filter;
    for (const tile of this.tiles) tile.hidden = filter !== "All" && tile.kind !== filter;
    for (const button of this.find("filters").children) {
      button.setAttribute("aria-pressed", String(button.dataset.filter === filter));
    }
    this.visible = this.tiles.filter((tile) => !tile.hidden);
    this.tell();
    this.reveal();
  }

  // ---- selection ----

  get selected() {
    return this.byId?.get(this.current);
  }

  select(tile) {
    this.selected?.setAttribute("aria-selected", "false");
    this.current = tile?.item.id;
    tile?.setAttribute("aria-selected", "true");
    SHOWN.set(this.key, { turn: this.head.turn, id: this.current });
    this.tell();
    this.reveal();
  }

  choose(tile, { wait }) {
    if (this.inStrip) tile.focus({ preventScroll: true });
    if (tile === this.selected) return;
    this.select(tile);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.report({ id: tile.item.id, turn: this.head.turn }), wait);
  }

  get inStrip() { // whether a tile has the focus
    return this.strip.contains(this.root.getRootNode().activeElement);
  }

  tell() { // the position, and the one tile that Tab reaches
    const { visible, selected, root } = this, at = visible.indexOf(selected);
    this.find("position").value = `${at < 0 ? "–" : at + 1} of ${visible.length}`;
    if (selected) root.dataset.selected = selected.item.id;
    else delete root.dataset.selected;
    if (this.stop) this.stop.tabIndex = -1;
    this.stop = at < 0 ? visible[0] : selected;
    if (this.stop) this.stop.tabIndex = 0;
  }

  reveal() { // scrolls the strip and never the page
    const { selected, strip } = this;
    if (!selected || selected.hidden) return;
    const left = selected.offsetLeft - 5, right = selected.offsetLeft + selected.offsetWidth + 5;
    if (left < strip.scrollLeft) strip.scrollLeft = left;
    else if (right > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = right - strip.clientWidth;
    const top = selected.offsetTop - 5, bottom = selected.offsetTop + selected.offsetHeight + 5;
    if (top < strip.scrollTop) strip.scrollTop = top;
    else if (bottom > strip.scrollTop + strip.clientHeight) strip.scrollTop = bottom - strip.clientHeight;
  }

  place() {
    this.columns = getComputedStyle(this.strip).gridTemplateColumns.split(" ").length;
    const rows = Math.min(ROWS, Math.max(1, Math.ceil(this.tiles.length / this.columns)));
    this.strip.style.setProperty("--rows", rows);
    this.reveal();
  }

  // ---- keys ----

  press(event) { // tells whether the key meant something
    if (!this.head || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
    const filter = /^[1-9]$/.test(event.key) && this.filters[event.key - 1];
    const target = this.target(event.key);
    if (filter) this.show(filter);
    else if (target) this.choose(target, { wait: REPORT_AFTER });
    return Boolean(filter || target);
  }

  target(key) { // the visible tile that a key leads to
    const { visible, columns, selected } = this, last = visible.length - 1;
    if (last < 0) return undefined;
    if (key === "Home") return visible[0];
    if (key === "End") return visible[last];
    if ((key === "Enter" || key === " ") && this.inStrip) return this.root.getRootNode().activeElement;
    const way = { ArrowRight: 1, ArrowLeft: -1, ...(!this.head.film && { ArrowDown: columns, ArrowUp: -columns }) }[key];
    if (!way) return undefined;
    if (!selected) return way > 0 ? visible[0] : visible[last];
    const at = visible.indexOf(selected);
    if (at >= 0) return visible[at + way] ?? (Math.abs(way) === 1 ? selected : (way > 0 ? visible[last] : visible[0]));
    const after = visible.findIndex((tile) => tile.i > selected.i); // the selected tile is filtered out
    return visible[way > 0 ? (after < 0 ? last : after) : (after < 0 ? last : Math.max(0, after - 1))];
  }
}
