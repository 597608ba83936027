// ---- report: curves and heat maps ----

const MARKS = [
  (x, y) => `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0`,
  (x, y) => `M${x - 3.2} ${y - 3.2}h6.4v6.4h-6.4z`,
  (x, y) => `M${x} ${y - 4.2}l4 7h-8z`,
  (x, y) => `M${x} ${y - 4.4}l4.4 4.4l-4.4 4.4l-4.4 -4.4z`,
  (x, y) => `M${x} ${y + 4.2}l4 -7h-8z`,
  (x, y) => `M${x - 4} ${y - 1.3}h2.7v-2.7h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7z`,
];
const markAt = (subject, x, y, title) =>
  draw("path", { d: MARKS[subject % MARKS.length](x, y), fill: colorOf(subject), class: "mark" }, title ? draw("title", {}, title) : null);

const legendBox = own =>
  make(
    "ul",
    { class: "lines" },
    ...own.map(subject =>
      make(
        "li",
        {},
        canvasBox(
          34,
          12,
          "",
          draw("line", { x1: 1, x2: 33, y1: 6, y2: 6, stroke: colorOf(subject), "stroke-width": 2, "stroke-dasharray": dashOf(subject) }),
          markAt(subject, 17, 6),
        ),
        visible(subjects[subject].name),
      ),
    ),
  );

// round numbers between two, about so many
const ticksBetween = (low, high, n) => {
  const raw = (high - low) / n || 1,
    power = 10 ** Math.floor(Math.log10(raw)),
    step = [1, 2, 5, 10].map(times => times * power).find(step => step >= raw * 0.999);
  return range(Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1).map(at => Number(((Math.ceil(low / step - 1e-9) + at) * step).toPrecision(12)));
};

// `series`: `{ subject, points: [{ x, y, low, high, title }] }`; lengths and positions double from mark to mark
const lineChart = (label, { x_title, y_title, series, from, to, xs }) => {
  return sketch(label, width => {
    const height = Math.round(clamp(width * 0.62, 210, 320)),
      [left, right, top, bottom] = [52, 14, 12, 42];
    const all = series.flatMap(one => one.points),
      place = x => Math.log2(x);
    const [x_low, x_high] = [Math.min(...all.map(point => place(point.x))), Math.max(...all.map(point => place(point.x)))];
    // a band that leaves the picture does not flatten the curves
    const [y_min, y_max] = [Math.min(...all.map(point => point.y)), Math.max(...all.map(point => point.y))];
    const margin = 0.08 * (y_max - y_min || Math.abs(y_max) * 0.1 || 1);
    const low = from ?? Math.max(0, y_min - margin),
      high = to ?? y_max + margin;
    const at_x = x => left + ((place(x) - x_low) / (x_high - x_low || 1)) * (width - left - right);
    const at_y = y => height - bottom - ((clamp(y, low, high) - low) / (high - low || 1)) * (height - top - bottom);
    const rows = ticksBetween(low, high, 5);
    let last = -Infinity;
    const columns = xs.filter(x => {
      const fits = at_x(x) - last >= 34;
      if (fits) last = at_x(x);
      return fits;
    });
    const band = ({ subject, points }) =>
      points.every(point => point.low !== undefined && point.low !== null)
        ? draw("path", {
            d: `M${points.map(point => `${at_x(point.x)} ${at_y(point.high)}`).join("L")}L${[...points].reverse().map(point => `${at_x(point.x)} ${at_y(point.low)}`).join("L")}Z`,
            fill: colorOf(subject),
            class: "band",
          })
        : null;
    return canvasBox(
      width,
      height,
      label,
      ...rows.map(y => draw("line", { x1: left, x2: width - right, y1: at_y(y), y2: at_y(y), class: "rule" })),
      ...rows.map(y => words(left - 6, at_y(y) + 4, tickText(y), { "text-anchor": "end" })),
      ...columns.map(x => draw("line", { x1: at_x(x), x2: at_x(x), y1: height - bottom, y2: height - bottom + 4, class: "axis" })),
      ...columns.map(x => words(at_x(x), height - bottom + 17, lengthText(x), { "text-anchor": "middle" })),
      draw("path", { d: `M${left} ${top}V${height - bottom}H${width - right}`, class: "axis" }),
      words((left + width - right) / 2, height - 7, x_title, { "text-anchor": "middle", class: "title" }),
      words(0, 0, y_title, { transform: `translate(10 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }),
      ...series.map(band),
      ...series.map(({ subject, points }) =>
        draw("path", {
          d: `M${points.map(point => `${at_x(point.x)} ${at_y(point.y)}`).join("L")}`,
          stroke: colorOf(subject),
          "stroke-dasharray": dashOf(subject),
          class: "line",
        }),
      ),
      ...series.flatMap(({ subject, points }) => points.map(point => markAt(subject, at_x(point.x), at_y(point.y), point.title))),
    );
  });
};

const figure = (title, chart, note) =>
  make("figure", {}, make("figcaption", {}, visible(title), note ? make("span", { class: "note" }, ` ${note}`) : null), chart.box);

// names the curves that lie on one another, of which only the last is seen
const alikeText = series => {
  const lines = new Map();
  for (const one of series) {
    const line = JSON.stringify(one.points.map(point => [point.x, point.y, point.low, point.high]));
    lines.set(line, [...(lines.get(line) || []), subjects[one.subject].name]);
  }
  const alike = [...lines.values()].filter(names => names.length > 1).map(names => visible(names.join(" = ")));
  return alike.length ? `on one line: ${alike.join("; ")}` : null;
};

// a table with two lengths or more as curves; of several parts each by itself
const curvesOf = (list, at) => {
  const table = tablesOf(list)[at],
    scores = scoresOf(table);
  return [...new Set(table.columns.map(column => column.part))].flatMap(name => {
    const columns = range(table.columns.length).filter(column => table.columns[column].part === name && table.columns[column].length !== null);
    if (columns.length < 2) return [];
    const series = present(table)
      .map(subject => ({
        subject,
        points: columns
          .filter(column => scores.cells[subject][column] && scores.cells[subject][column].score !== null)
          .map(column => {
            const cell = scores.cells[subject][column],
              length = table.columns[column].length;
            return {
              x: length,
              y: cell.score,
              low: cell.interval[0],
              high: cell.interval[1],
              title: `${subjects[subject].name} at ${length} tokens: ${scoreText(table, cell.score)}${asideText(table, cell.interval)}, ${counted(cell.n, "sample")}`,
            };
          }),
      }))
      .filter(one => one.points.length);
    if (!series.length) return [];
    const chart = lineChart(`${table.name}: score by length`, {
      x_title: "length in tokens",
      y_title: isLoss(table) ? "perplexity" : "score in %",
      series,
      ...(isLoss(table) ? {} : { from: 0, to: 100 }),
      xs: columns.map(column => table.columns[column].length),
    });
    return [figure(name ? `${table.name}, ${name}` : table.name, chart, alikeText(series))];
  });
};
const positionsOf = at => {
  const own = data.positions.filter(one => one.table === at),
    longest = Math.max(...own.map(one => one.length || 0));
  const series = own
    .filter(one => (one.length || 0) === longest)
    .map(one => ({
      subject: one.subject,
      points: one.losses.map(([start, loss, n]) => ({
        x: start,
        y: loss,
        title: `${subjects[one.subject].name} from position ${start}: ${loss.toFixed(3)} nats a token, ${counted(n, "token")}`,
      })),
    }));
  const note = longest ? `texts of ${longest} tokens; each mark is of the positions up to the next` : "each mark is of the positions up to the next";
  const xs = [...new Set(series.flatMap(one => one.points.map(point => point.x)))].sort((a, b) => a - b);
  return figure(
    `${tasks[at].name}: loss by position`,
    lineChart(`${tasks[at].name}: loss by position`, { x_title: "position in tokens", y_title: "loss in nats a token", series, xs }),
    note,
  );
};

const curvesPart = () => {
  const all = [...range(families.length).map(at => ["families", at]), ...range(tasks.length).map(at => ["tasks", at])];
  const own = all.filter(([list, at]) => new Set(tablesOf(list)[at].columns.map(column => column.length)).size > 1);
  const losses = [...new Set(data.positions.map(one => one.table))];
  if (!own.length && !losses.length) return null;
  const box = make("div", { class: "figures" });
  parts.push(() => {
    for (const one of [...sketches]) if (box.contains(one.box)) sketches.delete(one);
    box.replaceChildren(...own.flatMap(([list, at]) => curvesOf(list, at)), ...losses.map(positionsOf));
  });
  const shown = [...new Set([...own.flatMap(([list, at]) => present(tablesOf(list)[at])), ...data.positions.map(one => one.subject)])].sort((a, b) => a - b);
  return part("By length", "curves", make("p", { class: "note" }, "Bands are the 95 % intervals of the tables."), legendBox(shown), box);
};

// ---- heat maps ----

const paletteAt = (stops, share) => {
  const place = clamp(share, 0, 1) * (stops.length - 1),
    at = Math.min(Math.floor(place), stops.length - 2);
  return rgb(stops[at].map((from, of) => Math.round(from + (stops[at + 1][of] - from) * (place - at))));
};
const look = () => data.looks[state.colors] || data.looks.viridis;
const colorBar = (stops, unit, low, high) => {
  return canvasBox(
    220,
    30,
    `colours from ${low} to ${high} ${unit}`,
    ...range(40).map(at => draw("rect", { x: 10 + at * 5, y: 2, width: 5.5, height: 10, fill: paletteAt(stops, at / 39) })),
    words(10, 26, `${low} ${unit}`, {}),
    words(210, 26, `${high} ${unit}`, { "text-anchor": "end" }),
  );
};

const heatMap = (label, cells) => {
  const order = look().lengths;
  const lengths = [...new Set(cells.map(cell => cell.length))].sort((a, b) => (order ? order.indexOf(a) - order.indexOf(b) : a - b)),
    depths = [...new Set(cells.map(cell => cell.depth))].sort((a, b) => a - b);
  return sketch(label, width => {
    const [left, right, top, bottom] = [46, 6, 6, 42];
    const wide = Math.min(90, (width - left - right) / lengths.length),
      high = clamp(260 / depths.length, 11, 30);
    const height = top + bottom + high * depths.length;
    const every = Math.ceil(34 / wide),
      each = Math.ceil(13 / high);
    const x_of = length => left + lengths.indexOf(length) * wide,
      y_of = depth => top + depths.indexOf(depth) * high;
    return canvasBox(
      width,
      height,
      label,
      ...cells.map(cell => {
        const color = paletteAt(look().stops, cell.score / look().most);
        return draw(
          "g",
          { "data-length": cell.length, "data-depth": cell.depth, "data-score": cell.score },
          draw(
            "rect",
            { x: x_of(cell.length), y: y_of(cell.depth), width: wide - 0.6, height: high - 0.6, fill: color },
            draw("title", {}, `${cell.length} tokens, ${short(100 * cell.depth)} % deep: ${short(cell.score)} %, ${counted(cell.n, "sample")}`),
          ),
          wide >= 24 && high >= 13
            ? words(x_of(cell.length) + wide / 2, y_of(cell.depth) + high / 2 + 4, cell.score.toFixed(0), { "text-anchor": "middle", style: `fill:${inkOn(color)}`, class: "number" })
            : null,
        );
      }),
      ...depths.filter((_, at) => at % each === 0).map(depth => words(left - 6, y_of(depth) + high / 2 + 4, short(100 * depth), { "text-anchor": "end" })),
      ...lengths.filter((_, at) => at % every === 0).map(length => words(x_of(length) + wide / 2, height - bottom + 16, lengthText(length), { "text-anchor": "middle" })),
      words(left + (wide * lengths.length) / 2, height - 7, "length in tokens", { "text-anchor": "middle", class: "title" }),
      words(0, 0, "depth in %", { transform: `translate(12 ${top + (high * depths.length) / 2}) rotate(-90)`, "text-anchor": "middle", class: "title" }),
    );
  });
};

const gridsPart = () => {
  const own = [...new Set(data.grids.map(grid => grid.table))];
  if (!own.length) return null;
  const box = make("div", { class: "figures small" }),
    bar = make("div", { class: "bar" });
  const task = picker("task", own.map(at => [String(at), tasks[at].name]), "", value => change({ grid: value }));
  const looks = picker(
    "colours",
    [
      ["viridis", "viridis: for colour-blind eyes and print"],
      ["needle", "red, yellow, green: as published needle tests"],
      ["chunk_llama", "the same up to 200 %, lengths sorted as texts: as ChunkLlama"],
    ],
    "",
    value => change({ colors: value }),
  );
  parts.push(() => {
    const at = own.includes(Number(state.grid)) && state.grid !== "" ? Number(state.grid) : own[0];
    task.set(String(at));
    looks.set(state.colors || "viridis");
    for (const one of [...sketches]) if (box.contains(one.box)) sketches.delete(one);
    bar.replaceChildren(colorBar(look().stops, "%", 0, look().most));
    box.replaceChildren(
      ...data.grids
        .filter(grid => grid.table === at)
        .map(grid => {
          const name = subjects[grid.subject].name,
            cells = grid.cells[state.mode] || grid.cells.run,
            note = `mean ${short(Number((cells.reduce((sum, cell) => sum + cell.score * cell.n, 0) / cells.reduce((sum, cell) => sum + cell.n, 0)).toFixed(1)))} %`;
          const shown = figure(name, heatMap(`${tasks[at].name} under ${name}: score by length and depth`, cells), note);
          shown.setAttribute("data-subject", grid.subject);
          return shown;
        }),
    );
  });
  return part("By length and depth", "grids", make("div", { class: "controls" }, task.box, looks.box, bar), box);
};
