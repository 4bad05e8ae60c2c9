// Where the picture lies on the stage: fitted, zoomed about a point, moved. All in CSS pixels from the stage's inner corner.

const LARGEST_PIXEL = 40; // CSS pixels of an image pixel at the highest zoom

class Stage {
  constructor(element, layers, onMove) {
    Object.assign(this, { element, layers, onMove, size: null, scale: 1, x: 0, y: 0 });
    new ResizeObserver(() => this.place()).observe(element);
  }

  show(size) {
    this.size = size;
    this.element.style.setProperty("--width", size.width);
    this.element.style.setProperty("--height", size.height);
    this.scale = 1;
    this.place();
  }

  place() {
    if (!this.size) return;
    const { clientWidth, clientHeight } = this.element, { width, height } = this.size;
    this.fitted = Math.min(clientWidth / width, clientHeight / height);
    this.left = (clientWidth - width * this.fitted) / 2;
    this.top = (clientHeight - height * this.fitted) / 2;
    Object.assign(this.layers.style, { width: `${width * this.fitted}px`, height: `${height * this.fitted}px` });
    this.move();
  }

  get pixel() { // CSS pixels of an image pixel
    return this.fitted * this.scale;
  }

  move() {
    const { element, layers } = this;
    this.x = Math.min(0, Math.max(element.clientWidth * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(element.clientHeight * (1 - this.scale), this.y));
    this.originX = this.left * this.scale + this.x;
    this.originY = this.top * this.scale + this.y;
    layers.style.transform = `translate(${this.originX}px, ${this.originY}px) scale(${this.scale})`;
    layers.classList.toggle("sharp", this.pixel * window.devicePixelRatio > 3); // single pixels are worth seeing
    this.onMove();
  }

  fit() {
    this.scale = 1;
    this.move();
  }

  zoomAt([x, y], scale) {
    const most = Math.max(8, LARGEST_PIXEL / this.fitted), wanted = Math.min(most, Math.max(1, scale));
    const next = wanted < 1.001 ? 1 : wanted;
    this.x = x - ((x - this.x) * next) / this.scale;
    this.y = y - ((y - this.y) * next) / this.scale;
    this.scale = next;
    this.move();
  }

  moveBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.move();
  }

  point(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left - this.element.clientLeft, event.clientY - box.top - this.element.clientTop];
  }

  toImage([x, y]) {
    return [(x - this.originX) / this.pixel, (y - this.originY) / this.pixel];
  }

  toStage([x, y]) {
    return [this.originX + x * this.pixel, this.originY + y * this.pixel];
  }
}
