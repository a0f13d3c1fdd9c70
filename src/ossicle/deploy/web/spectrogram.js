// Samples -> a picture of their levels: time to the right, frequency up (by octaves, as ears have it), -90 to -10 dB.

const LOWEST = 50; // Hz
const FLOOR = -90; // dB of full scale
const SPAN = 80; // dB

export class Spectrogram {
  // `seconds` from the left edge to the right; what is older than that is pushed out.
  constructor(canvas, rate, seconds) {
    this.context = canvas.getContext("2d");
    this.colors = colors(canvas);
    this.size = 2 ** Math.round(Math.log2(rate * 0.05));
    this.window = Float64Array.from({ length: this.size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / this.size));
    this.rows = rows(canvas.height, this.size, rate);
    this.step = (rate * seconds) / canvas.width;
    this.recent = new Float32Array(this.size);
    Object.assign(this, { canvas, heard: 0, drawn: 0 });
    this.context.fillStyle = `rgb(${this.colors[0].join()})`;
    this.context.fillRect(0, 0, canvas.width, canvas.height);
  }

  // The next samples of one channel. A column is drawn of the newest samples each time that `step` of them have come.
  push(wave) {
    for (let at = 0; at < wave.length; ) {
      const due = Math.ceil((this.drawn + 1) * this.step) - this.heard;
      const piece = wave.subarray(at, at + due);
      at += piece.length;
      this.heard += piece.length;
      this.#keep(piece);
      if (piece.length === due) this.#column();
    }
  }

  #keep(piece) {
    const newest = piece.subarray(Math.max(0, piece.length - this.size));
    this.recent.copyWithin(0, newest.length);
    this.recent.set(newest, this.size - newest.length);
  }

  #column() {
    const { width, height } = this.canvas;
    const power = powers(this.recent.map((value, i) => value * this.window[i]));
    const column = this.context.createImageData(1, height);
    this.rows.forEach(([low, high], row) => {
      const peak = Math.max(...power.subarray(low, high)) * (4 / this.size) ** 2; // a full-scale tone is 0 dB
      const level = Math.min(1, Math.max(0, (10 * Math.log10(peak + 1e-12) - FLOOR) / SPAN));
      column.data.set([...this.colors[Math.round(255 * level)], 255], 4 * row);
    });
    if (this.drawn >= width) this.context.drawImage(this.canvas, -1, 0);
    this.context.putImageData(column, Math.min(this.drawn, width - 1), 0);
    this.drawn++;
  }
}

// For each row from the top the first bin and the one after the last.
function rows(height, size, rate) {
  const octaves = Math.log2(rate / 2 / LOWEST);
  const bin = (row) => (LOWEST * 2 ** (octaves * (1 - row / height)) * size) / rate;
  return Array.from({ length: height }, (_, row) => {
    const low = Math.min(Math.floor(bin(row + 1)), size / 2 - 1);
    return [low, Math.max(low + 1, Math.floor(bin(row)))];
  });
}

// 256 colors between those that the page's style names, from silence to the loudest.
function colors(canvas) {
  const style = getComputedStyle(canvas);
  const stops = ["--level-0", "--level-1", "--level-2"].map((name) => style.getPropertyValue(name).split(" ").map(Number));
  return Array.from({ length: 256 }, (_, i) => {
    const [from, to] = i < 128 ? [stops[0], stops[1]] : [stops[1], stops[2]];
    return from.map((value, channel) => Math.round(value + ((to[channel] - value) * (i % 128)) / 127));
  });
}

// |DFT|² of n real samples, n a power of two, for the first n/2 frequencies (Cooley and Tukey 1965).
export function powers(samples) {
  const n = samples.length;
  const real = new Float64Array(n);
  const imaginary = new Float64Array(n);
  const bits = Math.log2(n);
  for (let i = 0; i < n; i++) real[reversed(i, bits)] = samples[i];
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const [c, s] = [Math.cos((Math.PI * k) / half), -Math.sin((Math.PI * k) / half)];
      for (let i = k; i < n; i += 2 * half) {
        const j = i + half;
        const [x, y] = [real[j] * c - imaginary[j] * s, real[j] * s + imaginary[j] * c];
        real[j] = real[i] - x;
        imaginary[j] = imaginary[i] - y;
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
  return Float64Array.from({ length: n / 2 }, (_, i) => real[i] ** 2 + imaginary[i] ** 2);
}

function reversed(value, bits) {
  let result = 0;
  for (let i = 0; i < bits; i++) result = (result << 1) | ((value >> i) & 1);
  return result;
}
