// Cards of parts and of models. Python packs one payload (envelope.py): words, photographs and their heat.

const SHOWCASES = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let showcase = SHOWCASES.get(parentElement);
  if (!showcase) {
    showcase = new Showcase(parentElement.querySelector(".showcase"));
    SHOWCASES.set(parentElement, showcase);
  }
  showcase.presses.report = (presses) => setStateValue("presses", presses);
  showcase.update(unpack(data));
  return () => showcase.demo.end();
}

function element(tag, name, ...content) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...content);
  return made;
}

class Showcase {
  constructor(root) {
    Object.assign(this, { root, presses: new Presses(), urls: [] });
    this.demo = new Demo(root.querySelector(".demo"), () => this.presses.add({ act: "stop", image: "" }));
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.presses.add({ ...button.dataset });
      if (button?.dataset.act === "demo") document.documentElement.requestFullscreen?.().catch(() => {}); // or the window
    });
  }

  update(head) {
    this.presses.settle(head);
    const shown = JSON.stringify([head.parts, head.models, head.slides]);
    if (shown === this.shown) return;
    this.demo.end();
    this.shown = shown;
    this.head = head;
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = [];
    const find = (name) => this.root.querySelector("." + name);
    find("parts").replaceChildren(...head.parts.map((part) => this.part(part)));
    find("heading").hidden = !head.models.length;
    find("models").replaceChildren(...head.models.map((model) => this.model(model)));
    this.root.dataset.ready = head.parts.length;
    if (head.slides.length) this.demo.begin(head.slides.map((part) => ({ frame: this.frame(part.picture, ""), badge: this.badge(part), about: part.about })));
  }

  url(name) {
    const bytes = this.head.blob(name);
    if (!bytes.length) return "";
    this.urls.push(URL.createObjectURL(new Blob([bytes])));
    return this.urls.at(-1);
  }

  frame(name, alt) {
    const frame = element("span", "frame"), heat = this.url(`${name}-heat`);
    frame.append(Object.assign(new Image(), { src: this.url(name), alt, draggable: false }));
    if (heat) frame.append(Object.assign(new Image(), { src: heat, alt: "", className: "heat", draggable: false }));
    return frame;
  }

  badge({ verdict, score }) {
    const look = this.head.verdicts[verdict], rejected = verdict === "NG", shape = element("i", "shape");
    Object.assign(shape.style, { clipPath: look.shape, background: rejected ? this.head.onReject : look.colour });
    const badge = element("span", "verdict", shape, element("b", "", look.word), element("span", "", score));
    const ink = rejected ? this.head.onReject : "inherit";
    Object.assign(badge.style, { borderColor: look.colour, background: rejected ? look.colour : "transparent", color: ink });
    return badge;
  }

  part({ model, name, key, picture, about, ...said }) {
    const words = element("span", "words", this.badge(said), element("span", "about", about));
    const button = element("button", "part", this.frame(picture, `Part ${name}`), words);
    Object.assign(button, { type: "button", title: "Open it on the Inspect page" });
    Object.assign(button.dataset, { act: "part", image: model, value: key });
    return button;
  }

  model({ model, title, picture, lines, details }) {
    const words = element("div", "", element("h3", "name", title), ...lines.map((line) => element("p", "", line)));
    const button = Object.assign(element("button", "", "Inspect"), { type: "button" });
    button.setAttribute("aria-label", `Inspect with ${title}`);
    Object.assign(button.dataset, { act: "model", image: model });
    words.append(button);
    const frame = picture ? this.frame(picture, "") : element("span", "frame none", "no picture yet");
    const facts = details.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]);
    const card = element("article", "model", frame, words);
    if (facts.length) card.append(element("details", "", element("summary", "", "Details"), element("dl", "", ...facts)));
    return card;
  }
}
