// The regions of a part as a table: what is under the pointer is lit here and in the picture, and a click marks it.

const MAX_ROWS = 50;

// A region of the map in pixels of the image, or in mm; as inference/predictions.py has it: a pixel's centre lies half a
// pixel from its edge in both.
function inImage({ x0, y0, x1, y1, area, sumX, sumY, peak }, { width, height, map, pitch }) {
  const across = width / map.width, down = height / map.height, [mmX, mmY] = pitch ?? [1, 1];
  const pixels = Math.max(1, roundHalfEven(area * across * down));
  const left = Math.floor(x0 * across), top = Math.floor(y0 * down);
  const wide = Math.ceil(x1 * across) - left, high = Math.ceil(y1 * down) - top;
  const x = (sumX / area + 0.5) * across - 0.5, y = (sumY / area + 0.5) * down - 0.5;
  return { area: pixels * mmX * mmY, peak, size: [wide * mmX, high * mmY], centre: [x * mmX, y * mmY] };
}

function roundHalfEven(value) { // as Python rounds
  const whole = Math.round(value);
  return whole - value === 0.5 && whole % 2 ? whole - 1 : whole;
}

class RegionTable {
  constructor(root, more, { point, mark }) {
    Object.assign(this, { root, more, body: root.querySelector("tbody"), unit: root.querySelector(".area-unit") });
    const number = (event) => {
      const row = event.target.closest("tbody tr");
      return row ? row.sectionRowIndex : null;
    };
    root.addEventListener("pointerover", (event) => point(number(event)));
    root.addEventListener("pointerleave", () => point(null));
    root.addEventListener("focusin", (event) => point(number(event)));
    root.addEventListener("focusout", () => point(null));
    root.addEventListener("click", (event) => number(event) !== null && mark(number(event)));
  }

  show(regions, pitch) { // highest peak first
    const write = (value) => (pitch ? formatNumber(value) : value.toFixed(0)), rows = regions.slice(0, MAX_ROWS);
    this.unit.textContent = pitch ? "Area, mm²" : "Area, px";
    this.root.hidden = !rows.length;
    this.more.textContent = regions.length > MAX_ROWS ? `and ${regions.length - MAX_ROWS} smaller peaks` : "";
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach(({ area, peak, size, centre }, i) => {
      const row = this.body.rows[i] ?? this.newRow(i);
      const texts = [write(area), formatNumber(peak), size.map(write).join(" x "), centre.map(write).join(", ")];
      texts.forEach((text, column) => (row.cells[column + 1].textContent = text));
    });
  }

  newRow(i) {
    const row = this.body.insertRow(), button = document.createElement("button");
    for (let column = 0; column < 5; column++) row.insertCell();
    Object.assign(button, { type: "button", textContent: i + 1 });
    button.setAttribute("aria-label", `Region ${i + 1}`);
    row.cells[0].append(button);
    return row;
  }

  mark(marked, lit) {
    [...this.body.rows].forEach((row, i) => {
      row.classList.toggle("marked", i === marked);
      row.classList.toggle("lit", i === lit);
      row.cells[0].firstChild.setAttribute("aria-pressed", String(i === marked));
    });
    const row = this.body.rows[marked], { root } = this;
    if (!row || lit !== null) return; // the table moves below no pointer, and the page never
    const top = row.offsetTop - row.offsetHeight, bottom = row.offsetTop + row.offsetHeight;
    root.scrollTop = Math.min(top, Math.max(root.scrollTop, bottom - root.clientHeight));
  }
}
