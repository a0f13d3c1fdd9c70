// A bundle beside the page -> a model that answers. Once its files are here, the page may connect to nothing at all.

const FORMAT = 2;

// The bundle's config, and `score`: a window's wave -> its scores, one for each label. `base` is where index.html is.
export async function open(base) {
  const { live } = await told(new URL("slot", base)); // where an update answers, or "" for what was exported
  const home = new URL(live ? `${live}/` : ".", base);
  const config = await told(new URL("config.json", home));
  if (config.format > FORMAT) throw new Error(`this bundle has format ${config.format}: it wants a newer page`);
  if (config.image) throw new Error("the model of this bundle takes images, and the page has samples");
  const model = await fetched(new URL("model.onnx", home));
  await check(model, config.files["model.onnx"]);
  const engine = await fetched(new URL("ort/ort-wasm-simd-threaded.wasm", import.meta.url));
  shut();
  const ask = await asking(thread());
  await ask({ engine, model }, [model, engine]);
  const shape = [1, config.channels, config.window];
  return { config, score: (wave) => ask({ wave, shape }, []) };
}

async function told(url) {
  return JSON.parse(new TextDecoder().decode(await fetched(url)));
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname} is not there (${answer.status}): copy the bundle's whole folder`);
  return answer.arrayBuffer();
}

// A browser has no SHA-256 for a page that came neither by https nor from this machine; nor has it a microphone there.
async function check(content, wanted) {
  if (content.byteLength !== wanted.bytes) throw new Error(`model.onnx has not ${wanted.bytes} bytes: copy it again`);
  if (!crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== wanted.sha256) throw new Error("model.onnx is not the file that was exported: copy it again");
}

// Policies add up: after this one no script of the page, and no thread that it starts, can send anything anywhere.
function shut() {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "connect-src 'none'";
  document.head.append(policy);
}

// A thread made of a blob stands under its page's policies; one with an address of its own would not, so that the
// page's own allows none.
function thread() {
  const start = `import(${JSON.stringify(new URL("worker.js", import.meta.url).href)});`;
  return new Worker(URL.createObjectURL(new Blob([start], { type: "text/javascript" })), { type: "module" });
}

// Questions are answered in their order; before the first, the worker says that it is there.
async function asking(worker) {
  const waiting = [];
  const answer = () => new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  worker.onmessage = ({ data: { score, error } }) => {
    const { resolve, reject } = waiting.shift();
    if (error) reject(new Error(error));
    else resolve(score);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(event.message || "onnxruntime could not be started"));
  };
  await answer();
  return (question, moved) => {
    worker.postMessage(question, moved);
    return answer();
  };
}
