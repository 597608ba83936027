// ---- report: published numbers, provenance, and the page ----

const publishedPart = () => {
  const { fitting, others } = data.beside;
  const value = one => `${one.is_above ? "> " : ""}${one.value}`;
  const columns = names => names.map(name => ({ name, unit: "" }));
  const place = one => [one.task, one.data, one.length === null ? "" : lengthText(one.length), one.model, one.method, value(one)];
  const box = make("div", {});
  parts.push(() => {
    const ours = one => {
      const found = one.ours.map(({ list, table, subject, column }) => {
        const of = tablesOf(list)[table],
          cell = scoresOf(of).cells[subject][column];
        return cell ? `${subjects[subject].name}: ${scoreText(of, cell.score)}${asideText(of, cell.interval)}` : null;
      });
      return found.filter(Boolean).join("; ") || "not of this length";
    };
    const rows = fitting.map(one => [...place(one), ours(one), one.fit === "model" ? "this model" : "its family", one.source]);
    box.replaceChildren(
      fitting.length
        ? make(
            "div",
            {},
            make("p", { class: "note" }, "Numbers compare where model, data and protocol are the same; under each table of scores stands what was done otherwise than the task does by itself."),
            tableBox({ columns: columns(["task", "data", "length", "published for", "method", "published", "ours", "is", "source"]), rows, n_rows: rows.length }),
          )
        : make("p", { class: "note" }, others.length ? "Nothing is published for the models of this report." : "Nothing is known to be published for these tasks."),
    );
  });
  const list = make("details", { id: "others" }, make("summary", {}, `Published for other models (${others.length})`));
  list.addEventListener("toggle", () => {
    if (!list.open || list.children.length > 1) return;
    const rows = others.map(one => [...place(one), one.source]);
    list.append(tableBox({ columns: columns(["task", "data", "length", "model", "method", "value", "source"]), rows, n_rows: rows.length }));
  });
  return part("Published numbers", "published", box, others.length ? list : null);
};

const originPart = () => {
  const warnings = [...new Set(data.origins.flatMap(origin => origin.warnings))];
  const names = [
    ["model", "model"],
    ["content", "weights"],
    ["dtype", "number format"],
    ["device", "device"],
    ["kernel_path", "computed by"],
    ["version", "longlens"],
    ["trained_context", "trained on"],
    ["rope", "RoPE"],
    ["layer_windows", "windows of layers"],
    ["n", "samples"],
  ];
  const shown = names.filter(([name]) => data.origins.some(origin => origin[name] !== null && origin[name] !== ""));
  const rows = data.origins.map(origin => shown.map(([name]) => origin[name]));
  return part(
    "Provenance",
    "origin",
    ...warnings.map(warning => make("p", { class: "warning" }, visible(warning))),
    tableBox({ columns: shown.map(([, name]) => ({ name, unit: "" })), rows, n_rows: rows.length }),
    make("h3", {}, "Methods"),
    make("dl", {}, ...subjects.flatMap(subject => [make("dt", {}, visible(subject.name)), make("dd", {}, visible(subject.method))])),
    make("h3", {}, "To run the same again"),
    make("p", { class: "note" }, "Save this as a file and give it to `longlens sweep`."),
    make("pre", { id: "sweep", tabindex: "0" }, lines(data.sweep)),
  );
};

const headBox = () => {
  const { totals } = data;
  const span = totals.last - totals.first > 60 ? `${dateText(totals.first)} to ${dateText(totals.last)}` : dateText(totals.last);
  const shared = totals.n_shared ? `, ${totals.n_shared} of them shared (×${totals.factor.toFixed(2)})` : "";
  return make(
    "div",
    {},
    make("h1", {}, visible(data.name)),
    make("p", { class: "says" }, `${counted(totals.n_samples, "sample")} of ${counted(totals.n_tasks, "task")} under ${counted(subjects.length, "setting")} · ${visible(totals.models.join(", "))} · longlens ${totals.versions.join(", ")}`),
    make("p", { class: "says" }, `${span} · ${counted(totals.n_tokens, "prompt token")}${shared} · ${durationText(totals.seconds)} of computing`),
  );
};

// shows a part, for those who go by keys as well
const jump = id => {
  const heading = document.querySelector(`#${id} h2`);
  heading.scrollIntoView({ block: "start" });
  heading.focus({ preventScroll: true });
};
const setTheme = theme => {
  document.documentElement.dataset.theme = theme;
};
const KEYS = [
  ["1 – 9", "the parts of this page"],
  ["/", "words in samples"],
  ["Enter", "on a row: opens and closes the sample"],
  ["Esc", "closes the sample"],
  ["t", "dark, light"],
  ["?", "this list"],
];

const build = () => {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = data.theme || (prefers.matches ? "dark" : "light");
  if (!data.theme) prefers.addEventListener("change", () => setTheme(prefers.matches ? "dark" : "light"));
  unpackAll(data.heads);
  recall();
  const hasModes = [...tasks, ...families].some(table => Object.keys(table.scores).length > 1);
  const mode = picker(
    "scores",
    [
      ["", "as each was run"],
      ["faithful", "faithful: as the scripts score"],
      ["fixed", "fixed: right where these are wrong"],
    ],
    "",
    value => change({ mode: value }),
  );
  const others = picker("differences to", [["-1", "none"], ...subjects.map((subject, at) => [String(at), subject.name])], "", value => change({ ref: value }));
  parts.push(() => {
    mode.set(state.mode);
    others.set(String(reference()));
  });
  const all = [scoresPart(), curvesPart(), gridsPart(), headsPart(), publishedPart(), samplesPart(), originPart()].filter(Boolean);
  const toggleTheme = () => setTheme(isDark() ? "light" : "dark");
  const help = make(
    "dialog",
    { "aria-label": "keys" },
    make("h1", {}, "Keys"),
    make("dl", {}, ...KEYS.flatMap(([keys, says]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, says)])),
    make("p", { class: "note" }, "What is picked stands in the address: copy it to show others the same."),
    make("button", { onclick: () => help.close() }, "close"),
  );
  page.replaceChildren(
    make(
      "header",
      {},
      headBox(),
      make(
        "div",
        { class: "controls" },
        make("button", { id: "theme", title: "dark, light (t)", "aria-label": "dark or light", onclick: toggleTheme }, "◐"),
        make("button", { id: "help", title: "keys (?)", "aria-label": "keys", onclick: () => help.showModal() }, "?"),
      ),
    ),
    make(
      "nav",
      { class: "jumps", "aria-label": "parts" },
      ...all.map(one => make("button", { onclick: () => jump(one.id) }, one.firstChild.textContent)),
    ),
    make("div", { class: "controls fixed" }, hasModes ? mode.box : null, subjects.length > 1 ? others.box : null),
    ...all,
    tip,
    live,
    help,
  );
  document.addEventListener("keydown", event => {
    const isTyping = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || help.open;
    if (event.key === "Escape" && !help.open && state.open) toggleSample(state.open);
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const number = Number(event.key);
    const own = { "?": () => help.showModal(), t: toggleTheme, "/": () => document.getElementById("search").focus() }[event.key];
    const act = own || (number >= 1 && number <= all.length ? () => jump(all[number - 1].id) : null);
    if (!act) return;
    event.preventDefault();
    act();
  });
  addEventListener("hashchange", () => {
    recall();
    refresh();
  });
  refresh();
  for (const one of sketches) one.paint();
  const opened = state.open && document.querySelector(`tr[data-key="${CSS.escape(state.open)}"]`);
  if (opened) opened.scrollIntoView({ block: "start" });
  document.documentElement.dataset.ready = "yes";
};

try {
  build();
} catch (problem) {
  page.replaceChildren(make("p", {}, `This report cannot be drawn: ${problem.message}. It needs a browser of 2023 or newer (Chromium 85, Firefox 113, Safari 16.4).`));
  document.documentElement.dataset.ready = "failed";
  throw problem;
}
