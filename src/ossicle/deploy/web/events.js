// Windows with their scores -> events, each told once: the rules of ossicle's deploy/events.py, and its settings.

const EXACT = 1e-6; // seconds, less than a sample, that tell no two lengths apart

export class Events {
  // `on` and `off` are one number, or one for each label.
  constructor(labels, { on, off, min_seconds: least, gap_seconds: gap }) {
    const of = (threshold, index) => (Array.isArray(threshold) ? threshold[index] : threshold);
    this.least = least;
    this.tracks = labels.map((label, index) => new Track(label, of(on, index), of(off, index), gap));
  }

  // {start, stop, score, anew} -> the events {label, start, stop, score} that no later window can lengthen.
  hear(window) {
    return this.#told(this.tracks.map((track, index) => track.hear(window, window.score[index])));
  }

  // No window follows: the events that were still open.
  end() {
    return this.#told(this.tracks.map((track) => track.close()));
  }

  // The events that later windows may still lengthen.
  get open() {
    return this.#told(this.tracks.map((track) => track.event));
  }

  #told(events) {
    return events.filter((event) => event && event.stop - event.start > this.least - EXACT);
  }
}

class Track {
  constructor(label, on, off, gap) {
    Object.assign(this, { label, on, off, gap, event: null, sounding: false });
  }

  hear({ start, stop, anew }, score) {
    const continues = this.sounding && !anew;
    this.sounding = score >= (continues ? this.off : this.on);
    const within = this.event !== null && start < this.event.stop + this.gap + EXACT;
    if (this.event && this.sounding && (continues || within)) {
      const best = Math.max(this.event.score, score);
      this.event = { ...this.event, stop: Math.max(this.event.stop, stop), score: best };
      return null;
    }
    if (within && !this.sounding) return null;
    const ended = this.event;
    this.event = this.sounding ? { label: this.label, start, stop, score } : null;
    return ended;
  }

  close() {
    const ended = this.event;
    this.event = null;
    this.sounding = false;
    return ended;
  }
}
