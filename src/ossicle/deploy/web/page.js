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
      if (on <= 1) bar.lastChild.style.left = `${100 * on}%`;
      else bar.lastChild.remove(); // never told
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

// One thing is heard at a time, and the last that was asked for. Until `stop`, `source` hears what it hears.
async function hear(source) {
  current?.stop();
  const run = { going: true, hearing: null, stop: () => (run.going = false) };
  current = run;
  button("Stop");
  let text;
  try {
    text = await source(run);
  } catch (error) {
    text = error.message;
  }
  run.going = false;
  if (current !== run) return;
  current = null;
  button("Listen");
  say([text, ...faults(run.hearing)].join("; "));
}

function button(text) {
  part("listen").textContent = text;
  part("listen").classList.toggle("going", text === "Stop");
}

function faults(hearing) {
  if (!hearing) return [];
  const { missed, stream } = hearing;
  const told = [missed && `${missed} windows came too fast and were not heard`];
  told.push(stream.broken && `${stream.broken} samples were no sound and were heard as silence`);
  return told.filter(Boolean);
}

// A cleared page, and samples at `rate` are heard on it; the picture has room for so many seconds.
function begin(run, rate, seconds) {
  part("events").replaceChildren();
  part("scores").replaceChildren();
  part("span").textContent = `the last ${LIVE} s`;
  const picture = new Spectrogram(part("spectrogram"), model.config.sample_rate, seconds);
  // A page around this one may listen too: every window is an event of the document.
  const told = (window, ended, { events }) => {
    if (current !== run) return;
    if (window) showScores(window.score);
    showEvents(ended, events.open);
    document.dispatchEvent(new CustomEvent("ossicle", { detail: { window, ended } }));
  };
  run.hearing = new Hearing(model, told, rate);
  run.hearing.stream.shown = (wave) => picture.push(wave);
}

const file = (first, others) => async (run) => {
  say(`Reading ${first.name}`);
  const { waves, rate } = await decoded(first, model.config.sample_rate);
  if (current !== run) return "";
  const { length } = waves[0];
  const whole = clock(length / rate);
  begin(run, rate, Math.max(length / rate, 0.1));
  const { stream } = run.hearing;
  say(`Hearing ${first.name}`);
  for (let at = 0; at < length && run.going; at += rate) {
    await run.hearing.push(waves.map((wave) => wave.subarray(at, at + rate)));
    part("span").textContent = `${clock(stream.seconds)} of ${whole}, from left to right`;
  }
  await run.hearing.end();
  const heard = stream.arrived < length ? `${clock(stream.seconds)} of ${whole}` : whole;
  return `${first.name}: ${heard} heard${others ? `; one file at a time: ${others} more left out` : ""}`;
};

async function ear(run) {
  say("Asking for the microphone");
  try {
    const { rate, hear, release } = await microphone(model.config);
    await new Promise((resolve, reject) => {
      run.stop = resolve;
      if (!run.going) return resolve();
      begin(run, rate, LIVE);
      say("Listening");
      const push = (waves) => run.hearing.push(waves).catch(reject);
      hear(push, () => reject(new Error("it was taken away")));
    }).finally(release);
  } catch (error) {
    return `The microphone cannot be heard: ${error.message}`;
  } finally {
    if (current === run) await run.hearing?.end();
  }
  return run.hearing ? `${clock(run.hearing.stream.seconds)} heard` : "Not listening";
}

let early = []; // files that came before the model

function take([first, ...others]) {
  if (!first) return;
  if (model) hear(file(first, others.length));
  else early = [first, ...others];
}

part("listen").onclick = () => (current ? current.stop() : hear(ear));
part("choose").onclick = () => part("file").click();
part("file").onchange = ({ target }) => {
  take(target.files);
  target.value = "";
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
};

say("Fetching the model");
try {
  model = await open(document.baseURI);
  describe(model.config);
  for (const id of ["listen", "choose"]) part(id).disabled = false;
  say("Ready");
  take(early);
} catch (error) {
  part("about").textContent = "";
  say(`This page cannot listen: ${error.message}`);
}
