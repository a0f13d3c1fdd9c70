// Samples -> windows, where deploy/stream.py of ossicle would put them: the same places, and without conversion the same bits.
import { Resampler } from "./resample.js";

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
  // `config` is the bundle's: sample_rate, channels, window and hop (samples), policy ("repeat" or "zero"). Samples come
  // at `rate`; `shown`, where it is set, is given the first channel of what the model hears.
  constructor(config, rate = config.sample_rate) {
    const { window, channels, sample_rate } = config;
    Object.assign(this, { config, rate, base: 0, filled: 0, next: 0, broken: 0, arrived: 0, shown: null });
    this.buffer = Array.from({ length: channels }, () => new Float32Array(2 * window));
    const resamplers = Array.from({ length: channels }, () => new Resampler(rate, sample_rate));
    this.resamplers = rate === sample_rate ? null : resamplers;
  }

  get seconds() {
    return this.arrived / this.rate;
  }

  // One Float32Array a channel, any number of samples -> the windows {start, stop, wave, anew} that became whole.
  push(waves) {
    const whole = mixed(waves, this.config.channels).map((wave) => this.#mended(wave));
    this.arrived += whole[0].length;
    return this.#take(this.resamplers?.map((resampler, channel) => resampler.push(whole[channel])) ?? whole);
  }

  // The sound has ended: the windows that its last samples make.
  flush() {
    const windows = this.resamplers ? this.#take(this.resamplers.map((resampler) => resampler.flush())) : [];
    const { window, hop } = this.config;
    const length = this.base + this.filled;
    const covered = this.next ? this.next - hop + window : 0;
    if (covered < length) windows.push(this.#cut(Math.max(0, length - window)));
    return windows;
  }

  #take(waves) {
    const { window, hop } = this.config;
    const windows = [];
    this.shown?.(waves[0]);
    for (let at = 0; at < waves[0].length; ) {
      if (this.filled === 2 * window) this.#letGo();
      const count = Math.min(waves[0].length - at, 2 * window - this.filled);
      this.buffer.forEach((kept, channel) => kept.set(waves[channel].subarray(at, at + count), this.filled));
      at += count;
      this.filled += count;
      for (; this.next + window <= this.base + this.filled; this.next += hop) windows.push(this.#cut(this.next));
    }
    return windows;
  }

  #mended(wave) {
    return wave.map((value) => {
      const sound = Math.abs(value) <= IMPLAUSIBLE; // false for NaN
      if (!sound) this.broken++;
      return sound ? value : 0;
    });
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
