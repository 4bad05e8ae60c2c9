// Asks the server for another run of this fragment: some time after its last answer, and never while the tab is hidden
// or the page runs or is being left.

const TIMERS = new WeakMap();
const BORN = new WeakMap();
const PATIENCE = 10; // an answer that takes so many times longer than the interval got lost: ask once more
const LINKS = '[data-testid="stSidebarNavLink"], [data-testid="stPageLink-NavLink"]';
const LEAVING = 300_000; // milliseconds until a page that was not left after all asks again

// Streamlit joins what waits at the server into one request, for the page that the last one came from. A question asked
// between the click on another page and its arrival would be the last one, and keep the user where they are.
let left = -Infinity;
const leave = () => (left = performance.now());
window.addEventListener("popstate", leave);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.(LINKS);
  if (link && link.pathname !== location.pathname) leave();
}, true);

// On a busy machine Streamlit's page can lose track of where a part stands; it then draws nothing more. Loading it anew
// brings it back where its address says, at most every ten seconds.
const TORN = /Bad delta path|called on an ElementNode|at a delta path/;
const AGAIN = "skrd4ad-reloaded";
function recover(error) {
  const last = Number(sessionStorage.getItem(AGAIN) ?? 0);
  if (!TORN.test(String(error)) || Date.now() - last < 10_000) return;
  sessionStorage.setItem(AGAIN, String(Date.now()));
  location.reload();
}
window.addEventListener("error", (event) => recover(event.message));
window.addEventListener("unhandledrejection", (event) => recover(event.reason));

function isBusy(parentElement) {
  const isLeft = left > BORN.get(parentElement) && performance.now() - left < LEAVING;
  const state = document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState;
  return isLeft || (state !== undefined && state !== "notRunning");
}

export default function ({ data, parentElement, setTriggerValue }) {
  stop(parentElement);
  if (!BORN.has(parentElement)) BORN.set(parentElement, performance.now());
  const wait = (seconds) => TIMERS.set(parentElement, { timer: setTimeout(tick, 1000 * seconds), tick });
  const tick = () => {
    stop(parentElement);
    if (!parentElement.isConnected) return;
    if (document.hidden) {
      TIMERS.set(parentElement, { timer: null, tick });
      document.addEventListener("visibilitychange", tick, { once: true });
      return;
    }
    if (isBusy(parentElement)) {
      wait(data.seconds);
      return;
    }
    setTriggerValue("tick", data.run);
    wait(PATIENCE * data.seconds);
  };
  wait(data.seconds);
  return () => stop(parentElement);
}

function stop(parentElement) {
  const known = TIMERS.get(parentElement);
  if (!known) return;
  clearTimeout(known.timer);
  document.removeEventListener("visibilitychange", known.tick);
  TIMERS.delete(parentElement);
}
