// ---- report: what its parts share ----
//
// The parts: what is picked, names and numbers (this file); tables of scores (`scores.js`); curves and heat maps (`charts.js`); heads that
// attend to the evidence (`attention.js`); the list of samples (`samples.js`); and the page around them (`page.js`). Numbers come from the
// program; only the list of samples is filtered and sorted here.

delete state.log;
delete state.max;
// all of it texts, empty where nothing is picked; the address has them after its `#`
Object.assign(state, { mode: "", ref: "", colors: "", chart: "", grid: "", head: "", task: "", subject: "", column: "", only: "", q: "", sort: "", at: "", open: "" });

const { subjects, tasks, families } = data;
const tablesOf = list => (list === "families" ? families : tasks);
// scores under the mode that is picked; where it changes none, as they were run
const scoresOf = table => table.scores[state.mode] || table.scores.run;
const isLoss = table => table.scorer === "perplexity";
const plain = subjects.findIndex(subject => subject.method === "full" && subject.rope === "none");
// whom differences are to; -1 for nobody
const reference = () => (state.ref === "" ? Math.max(0, plain) : Number(state.ref));

// 4096 as 4k; thousands that are no powers of two stay as they are
const lengthText = length => (length >= 1024 && length % 1024 === 0 ? `${length / 1024}k` : String(length));
const columnText = column => [column.length === null ? null : lengthText(column.length), column.part].filter(part => part !== null).join(" · ") || "all";
// digits that tell numbers of a size apart: of perplexities three, of large ones none
const fixed = (value, digits) => value.toFixed(Math.abs(value) >= 1000 ? 0 : digits);
const scoreText = (table, score) => (score === null ? "–" : fixed(score, isLoss(table) ? 3 : 1));
const intervalText = (table, [low, high]) => (low === null ? "" : isLoss(table) ? `${fixed(low, 2)}–${fixed(high, 2)}` : `${low.toFixed(0)}–${high.toFixed(0)}`);
// the same behind a score
const asideText = (table, interval) => (interval[0] === null ? "" : ` (${intervalText(table, interval)})`);
const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "−" : "±") + fixed(Math.abs(value), digits);
// 600000 as 600k, for axes
const tickText = value => (Math.abs(value) >= 1e6 ? `${short(value / 1e6)}M` : Math.abs(value) >= 1e4 ? `${short(value / 1e3)}k` : short(value));
const counted = (n, what, more) => `${n} ${n === 1 ? what : more || `${what}s`}`;
const durationText = seconds =>
  seconds < 100 ? `${short(seconds)} s` : seconds < 6000 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
const dateText = seconds => `${new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ")} UTC`;
// line ends stay, signs that move or hide others are shown
const lines = text => text.split("\n").map(visible).join("\n");

// a name that breaks where a part of it ends
const named = name => visible(name).split(/(?<=[:,_=])/).flatMap((piece, at) => (at ? [make("wbr"), piece] : [piece]));

// the difference of a subject from the reference in a column; stored once for both directions
const differenceOf = (scores, subject, other, column) => {
  const is = (a, b) => one => one.subject === a && one.reference === b && one.column === column;
  const found = scores.differences.find(is(subject, other));
  if (found) return found;
  const back = scores.differences.find(is(other, subject));
  if (!back) return null;
  const [low, high] = back.interval;
  return { ...back, difference: -back.difference, interval: low === null ? back.interval : [-high, -low], n_better: back.n_worse, n_worse: back.n_better };
};

// each is told apart by colour, dash and mark
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const colorOf = subject => `var(--line-${(subject % 6) + 1})`;
const dashOf = subject => DASHES[Math.floor(subject / 6) % DASHES.length];

// elements of a drawing
const draw = (name, properties, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) if (value !== null && value !== undefined) element.setAttribute(key, value);
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};
// a drawing as wide as its place, drawn anew when that changes
const sketches = new Set();
const sketch = (label, paint) => {
  const box = make("div", { class: "drawing" });
  let width = 0;
  const one = {
    box,
    paint: () => {
      width = Math.floor(box.clientWidth) || width;
      if (width > 0) box.replaceChildren(paint(width));
    },
  };
  new ResizeObserver(entries => {
    if (Math.floor(entries[0].contentRect.width) !== width) one.paint();
  }).observe(box);
  sketches.add(one);
  return one;
};
const canvasBox = (width, height, label, ...children) =>
  draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...children);
const words = (x, y, text, properties) => draw("text", { x, y, ...properties }, text);

// parts of the page that follow what is picked
const parts = [];
const part = (title, id, ...children) => make("section", { id, class: "part" }, make("h2", { tabindex: "-1" }, title), ...children);
const change = changes => {
  Object.assign(state, changes);
  refresh();
};
const refresh = () => {
  for (const refill of parts) refill();
  remember();
};
