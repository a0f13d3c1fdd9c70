// Samples at their own rate -> at another, by the filter of Python's side (soxr's "HQ"): a sinc under Kaiser's window.

// Found by fitting the impulse response of soxr from 44.1 to 22.05 kHz, which they equal within 2e-7; other ratios have
// other lengths there, by a few samples. Of the lower rate's Nyquist frequency, and of its reciprocal:
const CUT = 0.9568718;
const HALF = 48.625;
const SHAPE = 13.04007; // of the window: 127 dB down from the Nyquist frequency on

export class Resampler {
  // Rates are whole numbers of Hz. It is fed one channel, in blocks of any size.
  constructor(from, to) {
    const divisor = common(from, to);
    Object.assign(this, { up: to / divisor, down: from / divisor, heard: 0, made: 0, first: 0 });
    this.kept = new Float32Array();
    this.filter = lowpass(Math.min(from, to) / from / 2);
    this.reach = Math.ceil(this.filter.half);
    this.phases = [];
  }

  // The next samples -> those of the new rate that no later ones can change.
  push(wave) {
    const joined = new Float32Array(this.kept.length + wave.length);
    joined.set(this.kept);
    joined.set(wave, this.kept.length);
    this.heard += wave.length;
    const count = Math.ceil(((this.heard - this.reach) * this.up) / this.down); // their filters end before `heard`
    const out = this.#made(joined, Math.max(0, count - this.made));
    const needed = Math.max(0, Math.floor((this.made * this.down) / this.up) - this.reach + 1);
    this.kept = joined.slice(needed - this.first);
    this.first = needed;
    return out;
  }

  // No more comes: the rest, as if silence followed.
  flush() {
    return this.#made(this.kept, Math.round((this.heard * this.up) / this.down) - this.made);
  }

  #made(wave, count) {
    return Float32Array.from({ length: count }, () => {
      const at = this.made++ * this.down;
      const weights = this.#weights(at % this.up);
      const start = Math.floor(at / this.up) - this.reach + 1 - this.first;
      const stop = Math.min(weights.length, wave.length - start);
      let sum = 0;
      for (let i = Math.max(0, -start); i < stop; i++) sum += weights[i] * wave[start + i];
      return sum;
    });
  }

  // Of the samples from `reach` - 1 before a place to `reach` after it; it is `phase` / `up` of a sample further.
  #weights(phase) {
    const { reach, up, filter } = this;
    const weight = (_, i) => filter.at(i - reach + 1 - phase / up);
    return (this.phases[phase] ??= Float64Array.from({ length: 2 * reach }, weight));
  }
}

// In cycles a sample and samples.
function lowpass(nyquist) {
  const [cut, half] = [2 * CUT * nyquist, HALF / nyquist];
  const sinc = (value) => (value ? Math.sin(Math.PI * value) / (Math.PI * value) : 1);
  const window = (time) => bessel(SHAPE * Math.sqrt(1 - (time / half) ** 2)) / bessel(SHAPE);
  return { half, at: (time) => (Math.abs(time) < half ? cut * sinc(cut * time) * window(time) : 0) };
}

// The modified Bessel function of the first kind and order 0, by its power series.
function bessel(value) {
  let sum = 1;
  for (let term = 1, k = 1; term > 1e-17 * sum; k++) sum += term *= (value / 2 / k) ** 2;
  return sum;
}

function common(a, b) {
  return b ? common(b, a % b) : a;
}
