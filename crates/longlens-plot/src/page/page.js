// ---- view: a picture ----

const pictureView = () => {
  const bytes = Array.from(new TextEncoder().encode(data.picture), byte => String.fromCharCode(byte));
  const address = `data:image/svg+xml;base64,${btoa(bytes.join(""))}`;
  return { controls: [], parts: [make("img", { class: "picture", alt: data.text, src: address })], draw: () => {}, keys: {} };
};

// ---- the page around a view ----

const KEYS = [
  ["[ ]", "the query or token before, after"],
  ["{ }", "16 tokens back, on"],
  ["< >", "the head before, after"],
  ["( )", "the layer before, after"],
  ["+ −", "nearer, farther; also the wheel"],
  ["0", "all of it"],
  ["arrows", "move; in a grid that has the focus, pick"],
  ["*", "to the query and the needle"],
  ["l", "powers of ten, or in proportion"],
  ["m", "largest or mean weight of a cell"],
  ["t", "dark, light"],
  ["?", "this list"],
];
const setTheme = theme => {
  document.documentElement.dataset.theme = theme;
  redraw();
};
const definitions = map =>
  make(
    "dl",
    {},
    ...Object.entries(map)
      .filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length))
      .flatMap(([name, value]) => [
        make("dt", {}, name.replace(/_/g, " ")),
        make("dd", {}, typeof value === "object" ? visible(JSON.stringify(value)) : visible(String(value))),
      ]),
  );

const build = () => {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  // a theme that was asked for goes before what the reader's system prefers
  document.documentElement.dataset.theme = data.theme || (prefers.matches ? "dark" : "light");
  if (!data.theme) prefers.addEventListener("change", () => setTheme(prefers.matches ? "dark" : "light"));
  unpackAll(data);
  view = { heads: headsView, map: mapView, lines: linesView, picture: pictureView }[data.kind]();
  if (difference) {
    const draw = view.draw;
    view.draw = () => {
      draw();
      difference.paint();
    };
  }
  const help = make(
    "dialog",
    { "aria-label": "keys" },
    make("h1", {}, "Keys"),
    make("dl", {}, ...KEYS.flatMap(([keys, says]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, says)])),
    make(
      "p",
      { class: "note" },
      "Drag moves, the wheel and pinching zoom, a click picks. What is picked stands in the address: copy it to show others the same.",
    ),
    make("button", { onclick: () => help.close() }, "close"),
  );
  const title = data.view.charAt(0).toUpperCase() + data.view.slice(1);
  const runs = data.records.map((run, at) =>
    make("div", {}, data.records.length > 1 ? make("h2", {}, `run ${at + 1}`) : null, definitions(run)),
  );
  const stored = data.stored || ["The picture as it was drawn, and its table."];
  page.replaceChildren(
    make(
      "header",
      {},
      make(
        "div",
        {},
        make("h1", {}, title),
        // what is picked since stands above the pictures
        make("p", { class: "says" }, make("span", { class: "note" }, view.pick_says ? "as it was written: " : ""), visible(data.text)),
        make(
          "p",
          { class: "says note" },
          data.records.length
            ? `${data.records[0].model} · ${[...new Set(data.records.map(run => run.method))].slice(0, 3).join(" · ")} · rope ${data.records[0].rope} · ${data.records[0].n_prompt} tokens`
            : "",
        ),
      ),
      make(
        "div",
        { class: "controls" },
        make("button", { id: "theme", title: "dark, light (t)", onclick: () => setTheme(isDark() ? "light" : "dark") }, "◐"),
        make("button", { id: "help", title: "keys (?)", onclick: () => help.showModal() }, "?"),
      ),
    ),
    make("div", { class: "controls" }, ...view.controls.filter(Boolean)),
    ...view.parts.filter(Boolean),
    make(
      "details",
      { id: "table", open: data.kind === "picture" ? "" : null },
      make("summary", {}, "The table behind it"),
      tableBox(data.table, view.pick),
    ),
    make(
      "details",
      { id: "run" },
      make("summary", {}, "What was run"),
      ...runs,
      make("h2", {}, "what is shown"),
      definitions(Object.fromEntries(Object.entries(data.about).filter(([name]) => !["run", "runs", "a", "b"].includes(name)))),
    ),
    make(
      "details",
      { id: "stored" },
      make("summary", {}, "What is stored in this file"),
      make("ul", {}, ...stored.map(sentence => make("li", {}, sentence))),
    ),
    tip,
    live,
    help,
  );
  document.addEventListener("keydown", event => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || help.open;
    if (event.key === "Escape") hideTip();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const own = { "?": () => help.showModal(), t: () => setTheme(isDark() ? "light" : "dark"), ...view.keys }[event.key];
    // arrows scroll the page unless a picture has the focus
    if (!own || (event.key.startsWith("Arrow") && event.target.tagName !== "CANVAS")) return;
    event.preventDefault();
    // what the mouse lay on may be something else now
    hideTip();
    own();
  });
  addEventListener("hashchange", () => {
    recall();
    redraw();
  });
  // at once, so that a picture of the loaded page is one of the view
  view.draw();
  remember();
  document.documentElement.dataset.ready = "yes";
};

try {
  build();
} catch (problem) {
  page.replaceChildren(
    make(
      "p",
      {},
      `This page cannot be drawn: ${problem.message}. It needs a browser of 2023 or newer (Chromium 80, Firefox 113, Safari 16.4).`,
    ),
  );
  document.documentElement.dataset.ready = "failed";
  throw problem;
}
