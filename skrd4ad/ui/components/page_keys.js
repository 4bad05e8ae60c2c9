// Keys of the page: a component may say what a key means wherever the focus is, also inside of another component. Text that
// somebody writes, lists and dialogs keep their keys.

const FREE_INPUTS = new Set(["radio", "checkbox", "range", "button", "submit", "reset", "color", "file"]);
const KEEPS_KEYS =
  'textarea, select, [contenteditable=""], [contenteditable="true"], [role="dialog"], [role="listbox"], [role="menu"], ' +
  '[role="combobox"], [role="grid"], [role="slider"], [data-testid="stSlider"], [data-testid="stPopoverBody"]';

class PageKeys {
  constructor(root, act) { // act(event, key) tells whether the key meant something
    Object.assign(this, { root, act, turn: 0 });
    this.listen = (event) => this.press(event);
  }

  attach() { // returns what takes it off the page again, unless it was drawn anew meanwhile, and tells whether it did
    const turn = ++this.turn;
    window.addEventListener("keydown", this.listen, { capture: true }); // before Streamlit, which has keys of its own
    return () => {
      if (turn !== this.turn) return false;
      window.removeEventListener("keydown", this.listen, { capture: true });
      return true;
    };
  }

  press(event) {
    const shown = this.root.isConnected && this.root.getClientRects().length > 0; // not in a tab that is closed
    if (!shown || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isKept(event)) return;
    if (!this.act(event, keyOf(event))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}

function isKept(event) {
  return event.composedPath().some((node) => node instanceof Element &&
    (node.matches(KEEPS_KEYS) || (node.matches("input") && !FREE_INPUTS.has(node.type))));
}

function keyOf(event) { // letters and digits by their place where the layout writes something else there
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code), key = event.key.toLowerCase();
  if (digit && !event.shiftKey) return digit[1];
  return /^[a-z]$/.test(key) ? key : /^Key([A-Z])$/.exec(event.code)?.[1].toLowerCase() ?? key;
}
