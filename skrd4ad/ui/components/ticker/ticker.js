// Asks the server for another run of this fragment: some time after its last answer, and never while the tab is hidden.

const TIMERS = new WeakMap();
const PATIENCE = 10; // an answer that takes so many times longer than the interval got lost: ask once more

export default function ({ data, parentElement, setTriggerValue }) {
  stop(parentElement);
  const wait = (seconds) => TIMERS.set(parentElement, { timer: setTimeout(tick, 1000 * seconds), tick });
  const tick = () => {
    stop(parentElement);
    if (!parentElement.isConnected) return;
    if (document.hidden) {
      TIMERS.set(parentElement, { timer: null, tick });
      document.addEventListener("visibilitychange", tick, { once: true });
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
