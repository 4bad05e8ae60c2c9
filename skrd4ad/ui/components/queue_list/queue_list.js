// A window of the queue in the browser. Python packs one payload (envelope.py): rows and their thumbnails.

const LISTS = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let list = LISTS.get(parentElement);
  if (!list) {
    list = new List(parentElement.querySelector(".queue"));
    LISTS.set(parentElement, list);
  }
  list.presses.report = (presses) => setStateValue("presses", presses);
  list.update(unpack(data));
}

function element(tag, name, ...content) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...content);
  return made;
}

class List {
  constructor(root) {
    Object.assign(this, { root, presses: new Presses(), urls: new Map(), rows: root.querySelector(".rows") });
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      this.mark(button.dataset.image);
      this.presses.add({ act: button.dataset.act, image: button.dataset.image ?? "" });
    });
    this.rows.addEventListener("keydown", (event) => this.key(event));
  }

  update(head) {
    this.presses.settle(head);
    const focused = this.root.getRootNode().activeElement?.dataset.image;
    this.keepPictures(head);
    this.rows.replaceChildren(...head.rows.map((row) => this.row(row, head)));
    for (const [act, count, word] of [["earlier", head.before, "earlier"], ["later", head.after, "later"]]) {
      const button = this.root.querySelector(`[data-act="${act}"]`);
      button.textContent = `${count.toLocaleString("en")} ${word}`;
      button.hidden = !count;
    }
    this.mark(head.selected);
    if (focused) this.rows.querySelector(`[data-image="${focused}"]`)?.focus({ preventScroll: true });
    if (this.selected !== head.selected || this.first !== head.before) this.reveal();
    Object.assign(this, { selected: head.selected, first: head.before });
    Object.assign(this.root.dataset, { selected: head.selected ?? "", count: head.rows.length });
  }

  keepPictures(head) { // a picture that stays is not decoded again
    const wanted = new Map(head.rows.map((row, i) => [row.id, i]));
    for (const [id, url] of this.urls) {
      if (wanted.has(id)) continue;
      URL.revokeObjectURL(url);
      this.urls.delete(id);
    }
    for (const [id, i] of wanted) {
      const bytes = this.urls.has(id) ? "" : head.blob(i);
      if (bytes.length) this.urls.set(id, URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" })));
    }
  }

  row(row, { looks, verdicts }) {
    const frame = element("span", "frame"), score = element("span", "score"), state = element("span", "state");
    if (this.urls.has(row.id)) frame.append(Object.assign(new Image(), { src: this.urls.get(row.id), alt: "", draggable: false }));
    if (row.verdict) {
      const shape = element("i", "shape");
      Object.assign(shape.style, { clipPath: verdicts[row.verdict].shape, background: verdicts[row.verdict].colour });
      score.append(shape);
    }
    score.append(row.score ?? "not scored");
    if (row.score && row.verdict) score.append(element("small", "", row.verdict));
    if (row.label !== "none") {
      const mark = element("b", "mark", row.label[0].toUpperCase());
      mark.style.setProperty("--tone", looks[row.label].colour);
      state.append(mark, element("span", "who", [row.type ?? row.label, row.who].filter(Boolean).join(", ")));
    } else state.append(element("span", "open", "open"));
    const button = element("button", "row", frame, element("span", "words", score, state));
    if (row.note) button.lastChild.append(element("span", "note", row.note));
    Object.assign(button, { type: "button", tabIndex: -1, title: row.name });
    Object.assign(button.dataset, { act: "open", image: row.id });
    const said = [row.name, row.verdict, row.score && `score ${row.score}`, row.label === "none" ? "open" : row.label, row.type, row.who, row.note];
    button.setAttribute("aria-label", said.filter(Boolean).join(", "));
    return element("li", "", button);
  }

  mark(id) {
    if (!id) return;
    for (const button of this.rows.querySelectorAll("button")) {
      const chosen = button.dataset.image === id;
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  reveal() { // scrolls the list and never the page
    const chosen = this.rows.querySelector("[aria-current]"), { rows } = this;
    if (!chosen) return;
    const top = chosen.offsetTop - chosen.offsetHeight, bottom = chosen.offsetTop + 2 * chosen.offsetHeight;
    if (top < rows.scrollTop) rows.scrollTop = top;
    else if (bottom > rows.scrollTop + rows.clientHeight) rows.scrollTop = bottom - rows.clientHeight;
  }

  key(event) {
    const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = way && event.target.closest("li")?.[way];
    if (!next) return;
    event.preventDefault();
    next.firstChild.focus();
  }
}
