// What is about to be drawn, on a canvas over the stage that is as crisp as the screen: the brush's rim, an open polygon, a
// box, outlines of the map.

const DARK_EDGE = "rgb(16 20 24 / 70%)";

class Preview {
  constructor(canvas, stage) {
    Object.assign(this, { canvas, stage, pen: canvas.getContext("2d") });
  }

  draw({ colour, outline, plane, corners, pointer, box, rim }) {
    const { canvas, stage, pen } = this, ratio = window.devicePixelRatio;
    const width = Math.round(stage.element.clientWidth * ratio), height = Math.round(stage.element.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width / ratio, height / ratio);
    if (outline) this.stroke(this.placed(outline, plane));
    if (corners?.length) this.polygon(corners, pointer, colour);
    if (box) this.box(box, colour);
    if (rim && pointer) this.rim(pointer, rim);
  }

  placed(path, plane) { // from the pixels of the map
    const { stage } = this, placed = new Path2D();
    const x = (stage.size.width * stage.pixel) / plane.width, y = (stage.size.height * stage.pixel) / plane.height;
    placed.addPath(path, new DOMMatrix([x, 0, 0, y, stage.originX, stage.originY]));
    return placed;
  }

  stroke(path) { // white with a dark edge shows on every part
    const { pen } = this;
    Object.assign(pen, { lineWidth: 3.2, strokeStyle: DARK_EDGE, lineJoin: "round", lineCap: "round" });
    pen.stroke(path);
    Object.assign(pen, { lineWidth: 1.5, strokeStyle: "#fff" });
    pen.stroke(path);
  }

  fill(path, colour) {
    const { pen } = this;
    pen.globalAlpha = 0.3;
    pen.fillStyle = colour;
    pen.fill(path, "evenodd");
    pen.globalAlpha = 1;
  }

  polygon(corners, pointer, colour) {
    const path = new Path2D(), points = corners.map((corner) => this.stage.toStage(corner)), { pen } = this;
    points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    if (pointer) path.lineTo(...this.stage.toStage(pointer));
    this.fill(path, colour);
    this.stroke(path);
    points.forEach(([x, y], i) => { // the first corner closes
      const dot = new Path2D();
      dot.arc(x, y, i ? 3 : 5.5, 0, 2 * Math.PI);
      pen.fillStyle = "#fff";
      pen.fill(dot);
      Object.assign(pen, { lineWidth: 1.5, strokeStyle: DARK_EDGE });
      pen.stroke(dot);
    });
  }

  box([from, to], colour) {
    const [ax, ay] = this.stage.toStage(from), [bx, by] = this.stage.toStage(to), path = new Path2D();
    path.rect(Math.min(ax, bx), Math.min(ay, by), Math.abs(bx - ax), Math.abs(by - ay));
    this.fill(path, colour);
    this.stroke(path);
  }

  rim(pointer, radius) {
    const path = new Path2D(), [x, y] = this.stage.toStage(pointer);
    path.arc(x, y, Math.max(1.5, radius * this.stage.pixel), 0, 2 * Math.PI);
    this.stroke(path);
  }
}
