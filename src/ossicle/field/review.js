// What one hears and decides, kept in this browser; every label, the changed ones with it, comes back as one table.
"use strict";

const table = JSON.parse(document.getElementById("table").textContent);
const cards = [...document.querySelectorAll("article")];
const status = document.getElementById("status");
const place = `ossicle review ${table.key}`;
let decided = recall();

function recall() {
  try {
    return JSON.parse(localStorage.getItem(place)) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(decided));
  } catch {
    status.dataset.lost = "this browser keeps nothing: download before you close the page";
  }
}

// One clip: its cell of the table as it was given, and as it is decided.

const facts = new Map(cards.map((card, i) => [card, table.cards[i]]));
const buttons = (card) => [...card.querySelectorAll(".choices button")]; // in the order of its choices
const id = (card) => facts.get(card).id;
const given = (card) => facts.get(card).given;
const labels = (cell) => (cell === "?" || cell === table.nothing ? [] : table.several ? cell.split(",") : [cell]);

function toggled(card, label) {
  if (!table.several) return decided[id(card)] === label ? undefined : label;
  const before = labels(decided[id(card)] ?? given(card));
  const after = before.includes(label) ? before.filter((each) => each !== label) : [...before, label];
  return after.join(",") || table.nothing;
}

function decide(card, cell) {
  if (cell === undefined) delete decided[id(card)];
  else decided[id(card)] = cell;
  keep();
  show(card);
  count();
}

function choose(card, number) {
  const { cell, label } = facts.get(card).choices[number];
  if (cell === undefined) decide(card, toggled(card, label));
  else decide(card, decided[id(card)] === cell ? undefined : cell);
}

function name(card) {
  const input = card.querySelector("input");
  const label = input.value.trim().normalize("NFC");
  if (!label) return false;
  const some = table.several ? label.split(/[,;|]/).map((each) => each.trim()).filter(Boolean) : [label];
  const before = table.several ? labels(decided[id(card)] ?? given(card)) : [];
  decide(card, [...new Set([...before, ...some])].join(","));
  input.value = "";
  return true;
}

function show(card) {
  const cell = decided[id(card)];
  const told = labels(cell ?? "?");
  buttons(card).forEach((button, number) => {
    const choice = facts.get(card).choices[number];
    button.setAttribute("aria-pressed", choice.cell === undefined ? told.includes(choice.label) : choice.cell === cell);
  });
  card.classList.toggle("decided", cell !== undefined);
  card.querySelector(".verdict").textContent = cell === undefined ? "" : `now: ${said(cell)}`;
}

const said = (cell) => (cell === "?" ? "unknown, left out" : cell === table.nothing ? "nothing of these" : cell);

function count() {
  const done = cards.filter((card) => id(card) in decided).length;
  status.textContent = [`${done} of ${cards.length} decided`, status.dataset.lost].filter(Boolean).join("; ");
}

// One sound at a time; a line runs over its picture.

const audio = (card) => card.querySelector("audio");

function play(card) {
  const sound = audio(card);
  if (sound.paused) sound.play().catch(() => {});
  else sound.pause();
}

function follow(card) {
  const sound = audio(card), line = card.querySelector(".line");
  line.style.left = `${(100 * sound.currentTime) / (sound.duration || 1)}%`;
  if (!sound.paused) requestAnimationFrame(() => follow(card));
}

for (const card of cards) {
  const sound = audio(card);
  sound.addEventListener("play", () => {
    for (const other of cards) if (other !== card) audio(other).pause();
    follow(card);
  });
  sound.addEventListener("seeked", () => follow(card));
  card.querySelector(".picture").addEventListener("click", () => play(card));
  card.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (name(card)) card.focus();
  });
  buttons(card).forEach((button, number) => button.addEventListener("click", () => choose(card, number)));
  show(card);
}

// The keyboard.

const current = () => document.activeElement?.closest("article") ?? cards.find((card) => !(id(card) in decided)) ?? cards[0];

function go(card, step) {
  const next = cards[cards.indexOf(card) + step];
  if (next) next.focus();
  else card.focus();
}

const keys = {
  " ": play,
  ArrowDown: (card) => (document.activeElement === card ? go(card, 1) : card.focus()),
  ArrowUp: (card) => go(card, -1),
  n: (card) => card.querySelector("input").focus(),
  u: (card) => decide(card, "?"),
  Backspace: (card) => decide(card, undefined),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
  const card = current(), inside = event.target.tagName;
  if (inside === "INPUT") {
    if (event.key === "Escape") card.focus();
    return;
  }
  if (event.key === " " && ["BUTTON", "SUMMARY", "AUDIO"].includes(inside)) return;
  const number = /^[1-9]$/.test(event.key) && event.key <= buttons(card).length;
  if (!number && !Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  if (!number) {
    keys[event.key](card);
    return;
  }
  choose(card, event.key - 1);
  if (!table.several && id(card) in decided) go(card, 1);
});

// The table that comes back. File names may hold bytes that are no UTF-8: Python hands them over as lone surrogates.

const quoted = (cell) => `"${cell.replaceAll('"', '""')}"`;

function rows() {
  const known = table.rows.map((row) => ({ row, cell: decided[row[0]] ?? row[1 + table.column] }));
  const added = table.added.filter((row) => row[0] in decided).map((row) => ({ row, cell: decided[row[0]] }));
  return [...known, ...added].map(({ row, cell }) => row.slice(1).with(table.column, cell));
}

function text() {
  return [table.header, ...rows()].map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

function file() {
  const parts = text().split(/([\udc80-\udcff])/u);
  return new Blob(parts.map((part) => (/^[\udc80-\udcff]$/u.test(part) ? Uint8Array.of(part.charCodeAt(0) - 0xdc00) : part)));
}

document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file());
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

count();
