// The decisions in the browser: buttons and the keys of the page do the same. A decision carries the image that is shown, so
// Python never stores it for another one; a key that is held down decides once.

const PANELS = new WeakMap();
const KEYS = { g: "good", d: "defect", u: "unsure", n: "next", p: "previous", z: "back" };
const MOVES = new Set(["next", "previous"]);

export default function ({ data, parentElement, setStateValue }) {
  let panel = PANELS.get(parentElement);
  if (!panel) {
    panel = new Panel(parentElement.querySelector(".panel"));
    PANELS.set(parentElement, panel);
  }
  panel.presses.report = (presses) => setStateValue("presses", presses);
  panel.update(data);
  return panel.keys.attach();
}

class Panel {
  constructor(root) {
    this.root = root;
    this.presses = new Presses();
    this.keys = new PageKeys(root, (event, key) => this.key(event, key));
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button && !button.disabled) this.press(button.dataset.act, button.dataset.value);
    });
  }

  update(data) {
    this.data = data;
    this.presses.settle(data);
    this.drawTypes(data);
    for (const button of this.root.querySelectorAll("button")) {
      const { act, value } = button.dataset, decides = !MOVES.has(act) && act !== "back";
      const chosen = act === "type" ? data.label === "defect" && data.type === value : data.label === act;
      if (decides) button.setAttribute("aria-pressed", String(chosen));
      button.disabled = decides && !data.decidable;
      delete button.dataset.waiting;
    }
    for (const button of this.root.querySelectorAll(".choice")) {
      const look = data.looks[button.dataset.act];
      button.style.setProperty("--tone", look.colour);
      Object.assign(button.querySelector(".shape").style, { clipPath: look.shape, background: look.colour });
    }
    Object.assign(this.root.dataset, { image: data.image, label: data.label, handled: data.handled });
    if (data.reviewer) remember(data.reviewer);
  }

  drawTypes({ types, looks }) {
    const group = this.root.querySelector(".types"), names = JSON.stringify(types);
    if (group.dataset.names === names) return; // keeps the focus
    group.dataset.names = names;
    group.replaceChildren(...types.map((name, i) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      Object.assign(button.dataset, { act: "type", value: name });
      button.style.setProperty("--tone", looks.defect.colour);
      if (i < 9) {
        button.append(Object.assign(document.createElement("kbd"), { textContent: i + 1 }));
        button.setAttribute("aria-keyshortcuts", i + 1);
      }
      button.append(name);
      return button;
    }));
  }

  key(event, key) {
    const type = /^[1-9]$/.test(key) && this.data.types[key - 1], act = type ? "type" : KEYS[key];
    if (!act) return false;
    if (!event.repeat || (MOVES.has(act) && !this.presses.waiting.length)) this.press(act, type || undefined);
    return true;
  }

  press(act, value) {
    const button = [...this.root.querySelectorAll("button")].find(({ dataset }) => dataset.act === act && dataset.value === value);
    if (button?.disabled) return;
    if (button) button.dataset.waiting = ""; // seen at once, done when the server says so
    this.presses.add({ act, image: this.data.image, ...(value !== undefined && { value }) });
  }
}

function remember(reviewer) { // for the next visit with this browser
  const cookie = `skrd4ad_reviewer=${encodeURIComponent(reviewer)}`;
  if (!document.cookie.split("; ").includes(cookie)) document.cookie = `${cookie}; path=/; max-age=31536000; samesite=strict`;
}
