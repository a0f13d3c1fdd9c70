// Samples -> windows, where deploy/stream.py of ossicle would put them: the same places, the same bits.

const IMPLAUSIBLE = 100; // +40 dB of full scale

// One Float32Array a channel -> as many as the model hears: several are averaged into one, one is heard on all.
export function mixed(waves, channels) {
  if (waves.length === channels) return waves;
  if (waves.length === 1) return Array(channels).fill(waves[0]);
  if (channels !== 1) throw new Error(`the sound has ${waves.length} channels and the model hears ${channels}`);
  const sum = new Float32Array(waves[0]);
  for (const wave of waves.slice(1)) for (let i = 0; i < sum.length; i++) sum[i] += wave[i];
  return [sum.map((value) => value / waves.length)];
}

export class Stream {
  // `config` is the bundle's: sample_rate, channels, window and hop (samples), policy ("repeat" or "zero").
  constructor(config) {
    Object.assign(this, { config, base: 0, filled: 0, next: 0, broken: 0 });
    this.buffer = Array.from({ length: config.channels }, () => new Float32Array(2 * config.window));
  }

  get seconds() {
    return (this.base + this.filled) / this.config.sample_rate;
  }

  // One Float32Array a channel, of any length -> the windows that became whole: {start, stop, wave}, in seconds, the
  // wave's channels one after the other. Samples that are no sound are heard as zeros and counted in `broken`.
  push(waves) {
    const { window, hop, channels } = this.config;
    waves = mixed(waves, channels);
    const windows = [];
    for (let at = 0; at < waves[0].length; ) {
      if (this.filled === 2 * window) this.#letGo();
      const count = Math.min(waves[0].length - at, 2 * window - this.filled);
      this.buffer.forEach((kept, channel) => this.#copy(waves[channel].subarray(at, at + count), kept));
      at += count;
      this.filled += count;
      for (; this.next + window <= this.base + this.filled; this.next += hop) windows.push(this.#cut(this.next));
    }
    return windows;
  }

  // The sound has ended: the window that ends with it, where the others left a tail.
  flush() {
    const { window, hop } = this.config;
    const length = this.base + this.filled;
    const covered = this.next ? this.next - hop + window : 0;
    return covered < length ? [this.#cut(Math.max(0, length - window))] : [];
  }

  #copy(wave, kept) {
    for (let i = 0; i < wave.length; i++) {
      const sound = Math.abs(wave[i]) <= IMPLAUSIBLE; // false for NaN
      if (!sound) this.broken++;
      kept[this.filled + i] = sound ? wave[i] : 0;
    }
  }

  #letGo() {
    const { window } = this.config;
    for (const kept of this.buffer) kept.copyWithin(0, window);
    this.base += window;
    this.filled = window;
  }

  #cut(start) {
    const { window, channels, sample_rate: rate, policy } = this.config;
    const stop = Math.min(start + window, this.base + this.filled);
    const wave = new Float32Array(channels * window);
    this.buffer.forEach((kept, channel) => {
      const heard = kept.subarray(start - this.base, stop - this.base);
      const last = policy === "repeat" ? window : heard.length;
      for (let at = 0; at < last; at += heard.length) {
        wave.set(heard.subarray(0, Math.min(heard.length, last - at)), channel * window + at);
      }
    });
    return { start: start / rate, stop: stop / rate, wave, anew: false };
  }
}
