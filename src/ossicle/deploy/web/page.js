// The page: what its buttons do, and what it shows of a Hearing.
import { Hearing } from "./hearing.js";
import { open } from "./model.js";
import { decoded, microphone } from "./sound.js";
import { Spectrogram } from "./spectrogram.js";

const ROWS = 12; // scores shown
const EVENTS = 200; // newest events kept in sight
const LIVE = 10; // seconds of a microphone's spectrogram

const part = (id) => document.getElementById(id);
const say = (text) => (part("status").textContent = text);
const clock = (seconds) => {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
};
const percent = (score) => `${(100 * score).toFixed(score < 0.1 ? 1 : 0)} %`;

function made(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

let model;
let current = null; // what is being heard: {stop}, a function that ends it

function describe({ labels, sample_rate: rate, window }) {
  const named = labels.length > 6 ? `${labels.slice(0, 5).join(", ")} and ${labels.length - 5} more` : labels.join(", ");
  part("about").textContent = `Knows ${named}. Hears ${(window / rate).toFixed(1)} s at a time, at ${rate / 1000} kHz.`;
}

function showScores(score) {
  const { labels, thresholds } = model.config;
  let order = labels.map((_, index) => index);
  if (order.length > ROWS) order = order.sort((a, b) => score[b] - score[a]).slice(0, ROWS);
  part("scores").replaceChildren(
    ...order.map((index) => {
      const on = Array.isArray(thresholds.on) ? thresholds.on[index] : thresholds.on;
      const bar = made("span", { className: "bar" }, made("i"), made("b"));
      bar.firstChild.style.width = `${100 * score[index]}%`;
      bar.lastChild.style.left = `${100 * on}%`;
      const label = made("span", { className: "label", textContent: labels[index], title: labels[index] });
      const row = made("li", { className: score[index] >= on ? "on" : "" }, label, bar, percent(score[index]));
      row.dataset.score = score[index];
      return row;
    }),
  );
}

function row({ label, start, stop, score }, open) {
  const cells = [clock(start), open ? "now" : clock(stop), label, percent(score)];
  const line = made("tr", { className: open ? "open" : "" }, ...cells.map((textContent) => made("td", { textContent })));
  Object.assign(line.dataset, { label, start, stop, score });
  return line;
}

function showEvents(ended, open) {
  const body = part("events");
  for (const line of body.querySelectorAll(".open")) line.remove();
  body.prepend(...open.map((event) => row(event, true)), ...ended.toReversed().map((event) => row(event, false)));
  while (body.rows.length > EVENTS) body.lastChild.remove();
}

// A page around this one may listen too: every window is an event of the document.
function told(window, ended, { events }) {
  if (window) showScores(window.score);
  showEvents(ended, events.open);
  document.dispatchEvent(new CustomEvent("ossicle", { detail: { window, ended } }));
}

function begin(seconds) {
  current?.stop();
  part("events").replaceChildren();
  part("scores").replaceChildren();
  part("span").textContent = `the last ${LIVE} s`;
  const { sample_rate: rate } = model.config;
  const picture = new Spectrogram(part("spectrogram"), rate, seconds);
  const hearing = new Hearing(model, told);
  const run = { hearing, picture, going: true, stop: () => (run.going = false) };
  current = run;
  return run;
}

function finish(run, text) {
  if (current !== run) return;
  current = null;
  const { missed, stream } = run.hearing;
  const faults = [missed && `${missed} windows came too fast and were not heard`];
  faults.push(stream.broken && `${stream.broken} samples were no sound and were heard as silence`);
  say([text, ...faults.filter(Boolean)].join("; "));
  part("listen").textContent = "Listen";
  part("listen").setAttribute("aria-pressed", "false");
}

async function hearFile(file) {
  current?.stop();
  say(`Reading ${file.name}`);
  const { sample_rate: rate, hop } = model.config;
  const waves = await decoded(file, rate);
  const whole = clock(waves[0].length / rate);
  const run = begin(Math.max(waves[0].length / rate, 0.1));
  say(`Hearing ${file.name}`);
  for (let at = 0; at < waves[0].length && run.going; at += hop) {
    const block = waves.map((wave) => wave.subarray(at, at + hop));
    run.picture.push(block[0]);
    await run.hearing.push(block);
    part("span").textContent = `${clock(run.hearing.stream.seconds)} of ${whole}, from left to right`;
  }
  if (!run.going) return;
  await run.hearing.end();
  finish(run, `${file.name}: ${whole} heard`);
}

async function hearMicrophone() {
  const run = begin(LIVE);
  say("Asking for the microphone");
  const failed = (error) => {
    run.stop();
    finish(run, `The microphone cannot be heard: ${error.message}`);
  };
  try {
    const release = await microphone(
      model.config,
      (waves) => {
        if (!run.going) return;
        run.picture.push(waves[0]);
        run.hearing.push(waves).catch(failed);
      },
      () => failed(new Error("it was taken away")),
    );
    run.stop = () => {
      if (!run.going) return;
      run.going = false;
      release();
      run.hearing.end().then(() => finish(run, `${clock(run.hearing.stream.seconds)} heard`), failed);
    };
    if (current !== run) return void run.stop();
  } catch (error) {
    return void failed(error);
  }
  say("Listening");
  part("listen").textContent = "Stop";
  part("listen").setAttribute("aria-pressed", "true");
}

function take(file) {
  if (file && model) hearFile(file).catch((error) => say(error.message));
}

part("listen").onclick = () => (part("listen").getAttribute("aria-pressed") === "true" ? current.stop() : hearMicrophone());
part("choose").onclick = () => part("file").click();
part("file").onchange = ({ target }) => {
  take(target.files[0]);
  target.value = "";
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
};

say("Fetching the model");
try {
  model = await open(document.baseURI);
  describe(model.config);
  for (const id of ["listen", "choose"]) part(id).disabled = false;
  say("Ready");
} catch (error) {
  part("about").textContent = "";
  say(`This page cannot listen: ${error.message}`);
}
