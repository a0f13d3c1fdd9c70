// In the browser's audio thread, which can reach no network: hands on what comes, some 2048 samples at a time.

const BLOCK = 2048;

class Tap extends AudioWorkletProcessor {
  #blocks = [];
  #count = 0;

  process([waves]) {
    if (!waves.length) return true;
    if (this.#blocks.length && this.#blocks[0].length !== waves.length) this.#hand();
    this.#blocks.push(waves.map((wave) => wave.slice()));
    this.#count += waves[0].length;
    if (this.#count >= BLOCK) this.#hand();
    return true;
  }

  #hand() {
    const joined = this.#blocks[0].map((_, channel) => {
      const wave = new Float32Array(this.#count);
      let at = 0;
      for (const block of this.#blocks) {
        wave.set(block[channel], at);
        at += block[channel].length;
      }
      return wave;
    });
    this.port.postMessage(joined, joined.map((wave) => wave.buffer));
    this.#blocks = [];
    this.#count = 0;
  }
}

registerProcessor("tap", Tap);
