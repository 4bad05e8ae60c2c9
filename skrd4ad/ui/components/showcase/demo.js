// One part after the other over the whole window: first the photograph, then its heat, then the verdict. It stands on
// pictures that were made once, so that it may run for days.

const HEAT_AFTER = 1200, VERDICT_AFTER = 2400, NEXT_AFTER = 6500; // ms from the beginning of a part

class Demo {
  constructor(dialog, ended) {
    Object.assign(this, { dialog, ended, timers: [] });
    const find = (name) => dialog.querySelector("." + name);
    [this.screen, this.big] = ["screen", "big"].map(find);
    dialog.addEventListener("keydown", (event) => this.stop(event));
    dialog.addEventListener("pointerdown", (event) => this.stop(event));
    dialog.addEventListener("cancel", (event) => this.stop(event));
  }

  begin(slides) {
    this.slides = slides;
    this.dialog.showModal();
    this.show(0);
  }

  show(number) {
    const { frame, badge, about } = this.slides[number], words = document.createElement("span");
    words.textContent = about;
    this.dialog.className = "demo";
    this.dialog.dataset.slide = number;
    this.screen.replaceChildren(frame);
    this.big.replaceChildren(badge, words);
    const steps = [["hot", HEAT_AFTER], ["judged", VERDICT_AFTER]];
    this.timers = steps.map(([name, after]) => setTimeout(() => this.dialog.classList.add(name), after));
    this.timers.push(setTimeout(() => this.show((number + 1) % this.slides.length), NEXT_AFTER));
  }

  stop(event) { // whoever comes takes over
    event.preventDefault();
    event.stopPropagation();
    this.end();
    this.ended();
  }

  end() {
    if (!this.dialog.open) return;
    this.timers.forEach(clearTimeout);
    this.dialog.close();
    if (document.fullscreenElement) document.exitFullscreen();
  }
}
