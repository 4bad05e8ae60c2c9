// The handle of the view "Compare": the bare picture on its left, heat and lines on its right.

const REVEAL_STEP = 0.02;

class Reveal {
  constructor(handle, moved) {
    Object.assign(this, { handle, moved, share: 0.5, from: 0, width: 1 }); // share of what is seen of the picture
    let grip = null; // from the pointer to the line
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault(); // the focus stays where it is, so that arrows still step through the parts
      handle.setPointerCapture(event.pointerId);
      grip = this.x - event.clientX;
    });
    handle.addEventListener("pointermove", (event) => {
      if (grip !== null) this.set((event.clientX + grip - this.from) / this.width);
    });
    for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => (grip = null));
    handle.addEventListener("dblclick", (event) => event.stopPropagation()); // it would undo the zoom
    handle.addEventListener("keydown", (event) => this.key(event));
  }

  get x() { // CSS pixels from the stage's left
    return this.from + this.share * this.width;
  }

  set(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.moved();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const edge = { Home: 0, End: 1 }[event.key];
    if (way === undefined && edge === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.set(edge ?? this.share + way * REVEAL_STEP * (event.shiftKey ? 5 : 1));
  }

  place(from, to) { // over the part of the picture that is seen, in CSS pixels of the stage; where the line stands
    Object.assign(this, { from, width: Math.max(1, to - from) });
    const percent = Math.round(100 * this.share);
    this.handle.style.left = `${this.x}px`;
    this.handle.setAttribute("aria-valuenow", percent);
    this.handle.setAttribute("aria-valuetext", `${percent} % bare, the rest with heat`);
    return this.x;
  }
}
