// ---- report: heads that attend to the evidence ----

const headMap = (label, of) => {
  const highest = Math.max(...of.means);
  return sketch(label, width => {
    const [left, top, bottom] = [46, 6, 42];
    const size = clamp((width - left - 8) / of.n_heads, 4, 30),
      high = clamp(420 / of.n_layers, 8, 22),
      height = top + bottom + high * of.n_layers,
      every = Math.ceil(22 / size),
      each = Math.ceil(13 / high);
    return canvasBox(
      width,
      height,
      label,
      ...Array.from(of.means, (share, at) => {
        const [layer, head] = [Math.floor(at / of.n_heads), at % of.n_heads];
        return draw(
          "rect",
          { x: left + head * size, y: top + layer * high, width: size - 0.5, height: high - 0.5, fill: paletteAt(data.looks.viridis.stops, highest > 0 ? share / highest : 0) },
          draw("title", {}, `layer ${layer} head ${head}: ${percent(share)}`),
        );
      }),
      ...range(of.n_layers)
        .filter(layer => layer % each === 0)
        .map(layer => words(left - 6, top + (layer + 0.5) * high + 4, layer, { "text-anchor": "end" })),
      ...range(of.n_heads)
        .filter(head => head % every === 0)
        .map(head => words(left + (head + 0.5) * size, height - bottom + 16, head, { "text-anchor": "middle" })),
      words(left + (size * of.n_heads) / 2, height - 7, "head", { "text-anchor": "middle", class: "title" }),
      words(0, 0, "layer", { transform: `translate(12 ${top + (high * of.n_layers) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }),
    );
  });
};

const headsPart = () => {
  const all = data.heads;
  if (!all.length) return null;
  const box = make("div", { class: "figures small" }),
    top = make("div", {});
  const own = [...new Set(all.map(of => of.table))];
  const task = picker("task", own.map(at => [String(at), tasks[at].name]), "", value => change({ head: value }));
  parts.push(() => {
    const at = own.includes(Number(state.head)) && state.head !== "" ? Number(state.head) : own[0],
      shown = all.filter(of => of.table === at);
    task.set(String(at));
    for (const one of [...sketches]) if (box.contains(one.box)) sketches.delete(one);
    box.replaceChildren(
      ...shown.map(of => {
        const name = subjects[of.subject].name,
          highest = Math.max(...of.means);
        const note = `mean of ${counted(of.n, "sample")}; the brightest is ${percent(Number(highest.toPrecision(3)))}`;
        return figure(name, headMap(`${tasks[at].name} under ${name}: attention to the evidence by layer and head`, of), note);
      }),
    );
    const share = value => (value === null ? null : Number((100 * value).toFixed(1)));
    const rows = shown.flatMap(of => of.top.map(one => [subjects[of.subject].name, one.layer, one.head, share(one.mean), share(one.of_hits), share(one.of_misses)]));
    const columns = [
      ["method", ""],
      ["layer", ""],
      ["head", ""],
      ["attention to the evidence", "%"],
      ["where the answer is right", "%"],
      ["where it is wrong", "%"],
    ];
    top.replaceChildren(tableBox({ columns: columns.map(([name, unit]) => ({ name, unit })), rows, n_rows: rows.length }));
  });
  return part(
    "Attention to the evidence",
    "heads",
    make("p", { class: "note" }, "The share of its attention that each head gives to the tokens which hold the answer, at the token before the answer, as a mean over samples. A map is scaled to its own highest head."),
    make("div", { class: "controls" }, task.box),
    box,
    make("details", {}, make("summary", {}, "The heads that attend to it most"), top),
  );
};
