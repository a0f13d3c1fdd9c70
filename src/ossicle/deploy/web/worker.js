// onnxruntime in a thread of its own: a window's samples in, its scores out, one at a time.
import * as ort from "./ort/ort.wasm.bundle.min.mjs";

let session;

async function answer({ engine, model, wave, shape }) {
  if (model) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = engine;
    session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
    return null;
  }
  const { score } = await session.run({ wave: new ort.Tensor("float32", wave, shape) }, ["score"]);
  if (!score.data.every(Number.isFinite)) throw new Error("the model answered with numbers that are not finite");
  return score.data;
}

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ score: await answer(data) });
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};

self.postMessage({});
