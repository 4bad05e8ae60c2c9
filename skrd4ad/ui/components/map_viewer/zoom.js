// Zoom and place of the picture on its stage: Ctrl and the wheel (which is also what a touchpad's pinch sends), two fingers,
// the buttons, and dragging. The wheel alone scrolls the page.

const MAX_ZOOM = 32;
const BUTTON_STEP = 1.5;

class Zoom {
  constructor(stage, tools, moved) {
    Object.assign(this, { stage, tools, moved, scale: 1, x: 0, y: 0 });
    this.fingers = new Map(); // places of the pointers that are down, by their ids
    const find = (name) => tools.querySelector("." + name);
    [this.fit, this.farther, this.nearer] = ["fit", "farther", "nearer"].map(find);
    this.fit.addEventListener("click", () => this.whole());
    this.nearer.addEventListener("click", () => this.step(BUTTON_STEP));
    this.farther.addEventListener("click", () => this.step(1 / BUTTON_STEP));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    // a second finger is ours, before the browser scrolls by it
    stage.addEventListener("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
    stage.addEventListener("dblclick", (event) => !event.target.closest(".tools") && this.whole());
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.up(event));
  }

  onStage(event) { // CSS pixels from the stage's inner corner
    const place = this.stage.getBoundingClientRect();
    return [event.clientX - place.left - this.stage.clientLeft, event.clientY - place.top - this.stage.clientTop];
  }

  settle() { // the picture stays on the stage
    const { stage } = this;
    if (this.scale <= 1.001) this.scale = 1;
    this.x = Math.min(0, Math.max(stage.clientWidth * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(stage.clientHeight * (1 - this.scale), this.y));
    stage.classList.toggle("zoomed", this.scale > 1);
    this.fit.hidden = this.farther.hidden = this.scale === 1;
    this.nearer.disabled = this.scale === MAX_ZOOM;
  }

  to(scale, [x, y]) { // what is at x, y stays there
    const bounded = Math.min(MAX_ZOOM, Math.max(1, scale)), by = bounded / this.scale;
    this.x = x - (x - this.x) * by;
    this.y = y - (y - this.y) * by;
    this.scale = bounded;
    this.moved();
  }

  step(by) {
    this.to(this.scale * by, [this.stage.clientWidth / 2, this.stage.clientHeight / 2]);
  }

  whole() {
    this.scale = 1;
    this.moved();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.to(this.scale * Math.exp(-event.deltaY / (event.deltaMode ? 12 : 300)), this.onStage(event));
  }

  down(event) {
    if (event.button !== 0 || event.target.closest(".tools, .divider")) return;
    this.fingers.set(event.pointerId, this.onStage(event));
    if (this.scale === 1 && this.fingers.size < 2) return;
    this.stage.setPointerCapture(event.pointerId);
    this.stage.classList.add("dragging");
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId), now = this.onStage(event);
    if (!before) return;
    this.fingers.set(event.pointerId, now);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
      this.to((this.scale * apart(now)) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else if (this.scale > 1) {
      this.x += now[0] - before[0];
      this.y += now[1] - before[1];
      this.moved();
    }
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (!this.fingers.size) this.stage.classList.remove("dragging");
  }
}
