// A sound, as it comes -> its windows with their scores, and its events, each told as soon as it is known.
import { Events } from "./events.js";
import { Stream } from "./stream.js";

const WAITING = 10; // seconds; where a microphone brings more than can be heard, windows are left out and counted

export class Hearing {
  // `told` is called after every window with {start, stop, wave, anew, score}, the events that ended, and this Hearing.
  // Samples come at `rate`, by default the model's own.
  constructor({ config, score }, told, rate) {
    this.stream = new Stream(config, rate);
    this.events = new Events(config.labels, config.thresholds);
    Object.assign(this, { score, told, done: Promise.resolve(), waiting: 0, missed: 0, gap: false });
    this.most = Math.max(2, Math.ceil((WAITING * config.sample_rate) / config.hop));
  }

  // One Float32Array a channel; `done` is then the promise that all of it was heard.
  push(waves) {
    for (const window of this.stream.push(waves)) this.#queue(window);
    return this.done;
  }

  // No more comes.
  end() {
    for (const window of this.stream.flush()) this.#queue(window);
    this.done = this.done.then(() => this.told(null, this.events.end(), this));
    return this.done;
  }

  #queue(window) {
    if (this.waiting >= this.most) {
      this.missed++;
      this.gap = true;
      return;
    }
    window.anew = this.gap;
    this.gap = false;
    this.waiting++;
    this.done = this.done.then(() => this.#hear(window));
  }

  async #hear(window) {
    window.score = await this.score(window.wave);
    this.waiting--;
    this.told(window, this.events.hear(window), this);
  }
}
