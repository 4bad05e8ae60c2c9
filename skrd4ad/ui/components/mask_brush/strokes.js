// What pointers do on the stage: mouse, pen and touch. One pointer draws, the middle button or Space moves the picture, two
// fingers zoom and move it. A stroke that is broken off leaves nothing behind.

const CLOSE_ENOUGH = 9; // CSS pixels to the first corner of a polygon, which closes it
const PEN_ERASER = 5; // button of a pen's other end

class Strokes {
  constructor(brush, element) {
    Object.assign(this, { brush, element, touches: new Map(), action: null, corners: [], pointer: null, space: false });
    const on = (name, act) => element.addEventListener(name, act);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event, true));
    on("pointerleave", () => this.leave());
    on("dblclick", (event) => this.doubled(event));
    on("mousedown", (event) => event.button === 1 && event.preventDefault()); // no scrolling by the middle button
    on("contextmenu", (event) => this.action && event.preventDefault());
    on("blur", () => this.hold(false));
  }

  hold(space) { // Space is down: dragging moves the picture
    this.space = space;
    this.element.classList.toggle("movable", space);
  }

  place(event) {
    return this.brush.stage.toImage(this.brush.stage.point(event));
  }

  down(event) {
    const { brush, element, touches } = this;
    if (!brush.mask || event.target.closest("button")) return;
    element.focus({ preventScroll: true });
    if (event.pointerType === "touch") touches.set(event.pointerId, brush.stage.point(event));
    if (touches.size === 2) {
      this.drop();
      this.action = { kind: "pinch" };
    }
    const moves = event.button === 1 || (event.button === 0 && this.space);
    if (this.action || !(moves || event.button === 0 || event.button === PEN_ERASER)) return;
    element.setPointerCapture(event.pointerId);
    this.holder = event.pointerId;
    this.pointer = this.place(event);
    const erases = brush.tool === "eraser" || event.shiftKey || event.button === PEN_ERASER;
    this.action = moves ? { kind: "move", at: brush.stage.point(event) } : this.begin(this.pointer, erases ? 0 : 1);
    element.classList.toggle("moving", moves);
    brush.redraw();
  }

  begin(at, value) {
    const { brush, corners } = this;
    if (brush.tool === "polygon") {
      if (corners.length > 2 && this.near(at, corners[0])) {
        this.close(value);
        return { kind: "closed" };
      }
      corners.push(at);
      return { kind: "corner" };
    }
    if (brush.tool === "box") return { kind: "box", from: at, value };
    if (brush.tool === "map") return { kind: "region", at, value };
    const action = { kind: "stroke", last: at, value };
    this.stroke(action, at);
    return action;
  }

  near(a, b) {
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.brush.stage.pixel < CLOSE_ENOUGH;
  }

  move(event) {
    const { brush, action, touches } = this;
    if (!brush.mask) return;
    if (action?.kind === "pinch") {
      if (touches.has(event.pointerId)) this.pinch(event);
      return;
    }
    if (action && event.pointerId !== this.holder) return;
    this.pointer = this.place(event);
    if (action?.kind === "move") {
      const [x, y] = brush.stage.point(event);
      brush.stage.moveBy(x - action.at[0], y - action.at[1]);
      action.at = [x, y];
    } else if (action?.kind === "stroke") {
      const steps = event.getCoalescedEvents?.() ?? []; // all places since the last frame
      for (const step of steps.length ? steps : [event]) this.stroke(action, this.place(step));
    }
    brush.redraw();
  }

  stroke(action, to) {
    const { mask, size } = this.brush;
    rasterStroke(action.last, to, size / 2, mask, (y, from, end) => mask.span(y, from, end, action.value));
    action.last = to;
    this.brush.paint();
  }

  pinch(event) {
    const { brush, touches } = this, before = [...touches.values()];
    touches.set(event.pointerId, brush.stage.point(event));
    const after = [...touches.values()], spread = ([a, b]) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const middle = ([a, b], i) => (a[i] + b[i]) / 2;
    brush.stage.moveBy(middle(after, 0) - middle(before, 0), middle(after, 1) - middle(before, 1));
    brush.stage.zoomAt([middle(after, 0), middle(after, 1)], (brush.stage.scale * spread(after)) / spread(before));
  }

  up(event, broken = false) {
    const { brush, action, touches, element } = this;
    touches.delete(event.pointerId);
    if (action?.kind === "pinch") {
      if (!touches.size) this.action = null;
      return;
    }
    if (!action || event.pointerId !== this.holder) return;
    if (broken) {
      this.drop();
      return;
    }
    const at = this.place(event), { mask } = brush;
    this.action = null;
    element.classList.remove("moving");
    const span = (y, from, end) => mask.span(y, from, end, action.value);
    if (action.kind === "box") rasterBox(action.from, at, mask, span);
    if (action.kind === "region") this.region(action.at, span);
    if (event.pointerType === "touch") this.pointer = null; // a finger that is lifted points nowhere
    if (["stroke", "box", "region"].includes(action.kind)) brush.finish();
    brush.redraw();
  }

  region([x, y], span) {
    const { heat, mask, threshold } = this.brush, column = Math.floor(x), row = Math.floor(y);
    if (column < 0 || row < 0 || column >= mask.width || row >= mask.height) return;
    heat.region(column, row, threshold, span);
  }

  close(value) { // makes the polygon
    const { brush, corners } = this, { mask } = brush;
    this.corners = [];
    if (corners.length > 2) rasterPolygon(corners, mask, (y, from, end) => mask.span(y, from, end, value));
    brush.finish();
  }

  doubled(event) {
    if (this.brush.tool !== "polygon" || !this.corners.length) return;
    const { corners } = this;
    if (corners.length > 1 && this.near(corners.at(-1), corners.at(-2))) corners.pop(); // of the second click
    this.close(event.shiftKey ? 0 : 1);
  }

  takeBack() { // the last corner; false when there is none
    const taken = this.corners.pop();
    this.brush.redraw();
    return taken !== undefined;
  }

  drop() { // what has begun
    const { brush, action } = this;
    if (action?.kind === "corner") this.corners.pop();
    this.action = null;
    this.element.classList.remove("moving");
    brush.mask?.revert();
    if (brush.mask) brush.paint();
    brush.redraw();
  }

  forget() { // another tool or image
    this.drop();
    this.corners = [];
    this.brush.redraw();
  }

  leave() {
    if (this.action) return;
    this.pointer = null;
    this.brush.redraw();
  }
}
