// What the user pressed, numbered, until Python has handled it. All that may not have arrived goes with every report, so that
// none is lost when two come while the server is busy; the session's token keeps a restarted server from doing it again.

let lastPress = 0;

class Presses {
  constructor() {
    this.waiting = [];
  }

  add(press) {
    lastPress = Math.max(lastPress + 1, Date.now());
    this.waiting.push({ n: lastPress, session: this.session, ...press });
    this.report([...this.waiting]);
  }

  settle({ handled, session }) {
    this.waiting = this.waiting.filter((press) => press.session === session && press.n > handled);
    this.session = session;
  }
}
