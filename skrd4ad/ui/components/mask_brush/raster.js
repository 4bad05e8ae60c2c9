// Shapes as spans of pixels: span(y, from, to), `to` exclusive. A pixel belongs to a shape when its centre lies in it, so a
// mask depends on the shape alone, not on the screen. Coordinates are those of the image; pixel (0, 0) has its centre at
// (0.5, 0.5).

function rasterStroke([ax, ay], [bx, by], radius, { width, height }, span) { // all points within the radius of a segment
  const length = Math.hypot(bx - ax, by - ay);
  const nx = length ? (-(by - ay) / length) * radius : 0, ny = length ? ((bx - ax) / length) * radius : 0;
  const sides = [[ax + nx, ay + ny], [bx + nx, by + ny], [bx - nx, by - ny], [ax - nx, ay - ny]];
  const first = Math.max(0, Math.ceil(Math.min(ay, by) - radius - 0.5));
  const last = Math.min(height - 1, Math.floor(Math.max(ay, by) + radius - 0.5));
  for (let y = first; y <= last; y++) { // the shape is convex: one span a row
    const centre = y + 0.5;
    let low = Infinity, high = -Infinity;
    const reach = (x) => {
      low = Math.min(low, x);
      high = Math.max(high, x);
    };
    for (const [x, dy] of [[ax, centre - ay], [bx, centre - by]]) {
      const square = radius * radius - dy * dy;
      if (square < 0) continue;
      reach(x - Math.sqrt(square));
      reach(x + Math.sqrt(square));
    }
    if (length) crossings(sides, centre).forEach(reach);
    const from = Math.max(0, Math.ceil(low - 0.5)), to = Math.min(width, Math.floor(high - 0.5) + 1);
    if (from < to) span(y, from, to);
  }
  const x = Math.floor(bx), y = Math.floor(by); // the finest brush may miss every centre
  if (x >= 0 && y >= 0 && x < width && y < height) span(y, x, x + 1);
}

function rasterPolygon(points, { width, height }, span) { // even-odd
  const ys = points.map((point) => point[1]);
  const first = Math.max(0, Math.ceil(Math.min(...ys) - 0.5)), last = Math.min(height - 1, Math.floor(Math.max(...ys)));
  for (let y = first; y <= last; y++) {
    const xs = crossings(points, y + 0.5).sort((a, b) => a - b);
    for (let i = 0; i + 1 < xs.length; i += 2) {
      const from = Math.max(0, Math.ceil(xs[i] - 0.5)), to = Math.min(width, Math.ceil(xs[i + 1] - 0.5));
      if (from < to) span(y, from, to);
    }
  }
}

function crossings(points, level) { // where the closed line through the points crosses a row
  const found = [];
  for (let i = 0; i < points.length; i++) {
    const [ax, ay] = points[i], [bx, by] = points[(i + 1) % points.length];
    if (ay <= level !== by <= level) found.push(ax + ((level - ay) * (bx - ax)) / (by - ay));
  }
  return found;
}

function rasterBox([ax, ay], [bx, by], { width, height }, span) {
  const from = Math.max(0, Math.ceil(Math.min(ax, bx) - 0.5)), to = Math.min(width, Math.ceil(Math.max(ax, bx) - 0.5));
  const first = Math.max(0, Math.ceil(Math.min(ay, by) - 0.5)), end = Math.min(height, Math.ceil(Math.max(ay, by) - 0.5));
  if (from < to) for (let y = first; y < end; y++) span(y, from, to);
}
