// Paints heat into pixels and lines onto the stage. Colours come from the table that Python made (visualize.heat_table).

const HALO = "rgb(16 20 24 / 60%)";
const TRUTH = "#7fe0e6";
const MAX_NUMBERED = 40;

// The two straight lines of visualize.heat_position: 0 at score 0, 0.5 at the threshold, 1 at the top.
function heatScale(threshold, top) {
  const below = threshold > 0 ? 0.5 / threshold : 0, above = 0.5 / Math.max(top - threshold, 1e-12);
  const position = (v) => Math.min(1, Math.max(0, v > threshold ? 0.5 + (v - threshold) * above : v * below));
  return { threshold, below, above, position };
}

function paintScores(out, values, table, { threshold, below, above }) {
  // the scale in rows of the table, rounded; written out here because it runs for every pixel
  const last = table.length - 1, k = below * last, l = above * last, middle = last / 2 + 0.5;
  const visible = table.findIndex((rgba) => rgba >>> 24);
  const clear = visible > 0 && k > 0 ? (visible - 0.5) / k : -Infinity; // most scores are below it
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v < clear) {
      out[i] = 0;
      continue;
    }
    const row = v > threshold ? middle + (v - threshold) * l : v * k + 0.5;
    out[i] = table[row <= 0 ? 0 : row >= last ? last : row | 0];
  }
}

function paintLevel(out, bytes, table) {
  const colours = Uint32Array.from({ length: 256 }, (_, v) => table[Math.round((v * (table.length - 1)) / 255)]);
  for (let i = 0; i < bytes.length; i++) out[i] = colours[bytes[i]];
}

// Lines over the stage, as crisp as the screen at every zoom. `place` has the picture's left, top, width and height on the
// stage in CSS pixels.
class Lines {
  constructor(canvas, place, ratio) {
    Object.assign(this, { place, ratio, pen: canvas.getContext("2d") });
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.clearRect(0, 0, canvas.width / ratio, canvas.height / ratio);
  }

  stroke(path, plane, { colour = "#fff", dash = [], wide = 1.6 } = {}) { // path in the pixels of a plane
    const { pen, place } = this, placed = new Path2D();
    const matrix = [place.width / plane.width, 0, 0, place.height / plane.height, place.left, place.top];
    placed.addPath(path, new DOMMatrix(matrix));
    Object.assign(pen, { lineJoin: "round", lineCap: "round", lineWidth: wide + 2, strokeStyle: HALO });
    pen.setLineDash([]);
    pen.stroke(placed);
    Object.assign(pen, { lineCap: dash.length ? "butt" : "round", lineWidth: wide, strokeStyle: colour });
    pen.setLineDash(dash);
    pen.stroke(placed);
  }

  boxes(regions, plane) { // numbered by falling peak, as a table of regions is
    const path = new Path2D();
    for (const { x0, y0, x1, y1 } of regions) path.rect(x0, y0, x1 - x0, y1 - y0);
    this.stroke(path, plane);
    regions.slice(0, MAX_NUMBERED).forEach((region, i) => this.number(i, region, plane));
  }

  number(i, region, plane, { ground = "rgb(16 20 24 / 85%)", ink = "#fff" } = {}) {
    const { pen, place } = this, text = String(i + 1), left = place.left + (region.x0 / plane.width) * place.width;
    const top = Math.max(0, place.top + (region.y0 / plane.height) * place.height - 16);
    pen.font = "600 12px sans-serif";
    pen.fillStyle = ground;
    pen.fillRect(left, top, pen.measureText(text).width + 8, 16);
    pen.fillStyle = ink;
    pen.fillText(text, left + 4, top + 12);
  }

  emphasise(i, region, outline, plane) { // by weight, not by colour: heat has all the colours already
    const box = new Path2D();
    box.rect(region.x0, region.y0, region.x1 - region.x0, region.y1 - region.y0);
    this.stroke(outline, plane, { wide: 3.2 });
    this.stroke(box, plane, { wide: 3.2 });
    this.number(i, region, plane, { ground: "#fff", ink: "#101418" });
  }
}
