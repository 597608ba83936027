// ---- view: lines and bars ----

const linesView = () => {
  const lines = data.lines.map((line, at) => ({
    ...line,
    color: `--line-${(at % 6) + 1}`,
    shown: true,
    x_of: line.x ? at => line.x[at] : at => at + 1,
  }));
  const x_low = Math.min(...lines.map(line => line.x_of(0))),
    x_high = Math.max(...lines.map(line => line.x_of(line.y.length - 1))) + (data.mark === "bar" ? 1 : 0);
  data.n_tokens ??= data.texts ? data.texts.length : x_high + 1;
  Object.assign(state, { log: 0, from: x_low, to: x_high, smooth: data.smooth, at: null });
  recall();
  let smoothed = null,
    of = -1;
  // means of as many points as are averaged, of those that are known
  const smooth = () => {
    if (of === state.smooth) return smoothed;
    of = state.smooth;
    smoothed = lines.map(({ y }) => {
      if (of <= 1) return y;
      const half = Math.floor(of / 2),
        sums = new Float64Array(y.length + 1),
        counts = new Uint32Array(y.length + 1);
      y.forEach((value, at) => {
        const known = Number.isFinite(value);
        sums[at + 1] = sums[at] + (known ? value : 0);
        counts[at + 1] = counts[at] + (known ? 1 : 0);
      });
      return Float32Array.from(y, (value, at) => {
        const [from, to] = [Math.max(0, at - half), Math.min(y.length, at - half + of)];
        return Number.isFinite(value) ? (sums[to] - sums[from]) / (counts[to] - counts[from]) : NaN;
      });
    });
    return smoothed;
  };
  const LEFT = 62,
    BOTTOM = 36,
    TOP = 16;
  const panels = [...new Set(lines.map(line => line.panel || 0))].map(panel => {
    const chart = canvasOf(data.y[0], panel === 0 ? 360 : 220, (context, width, high) => {
      const floor = high - BOTTOM,
        own = lines.map((line, at) => [line, smooth()[at]]).filter(([line]) => line.shown && (line.panel || 0) === panel);
      const x_of = x => LEFT + ((x - state.from) / (state.to - state.from || 1)) * (width - LEFT - 6);
      let low = data.mark === "bar" || own.some(([line]) => line.signed) ? 0 : Infinity,
        top = own.some(([line]) => line.signed) ? 0 : -Infinity;
      // one point a pixel at least, the lowest and the highest of several
      const paths = own.map(([line, values]) => {
        const columns = new Map();
        values.forEach((value, at) => {
          const x = line.x_of(at);
          if (!Number.isFinite(value) || x < state.from - 1 || x > state.to + 1) return;
          const column = values.length > 2 * width ? Math.round(x_of(x)) : x_of(x),
            seen = columns.get(column);
          if (!seen) columns.set(column, [value, value]);
          else {
            seen[0] = Math.min(seen[0], value);
            seen[1] = Math.max(seen[1], value);
          }
          low = Math.min(low, value);
          top = Math.max(top, value);
        });
        return columns;
      });
      if (!(top > low)) {
        top = low + 1;
      }
      const y_of = value => floor - ((value - low) / (top - low)) * (floor - TOP - 4);
      context.fillStyle = css("--faint");
      context.strokeStyle = css("--rule");
      context.textAlign = "right";
      const power = 10 ** Math.floor(Math.log10((top - low) / 5)),
        step = [1, 2, 5, 10].map(of => of * power).find(of => of >= (top - low) / 6);
      for (let value = Math.ceil(low / step) * step; value <= top; value += step) {
        context.beginPath();
        context.moveTo(LEFT, y_of(value));
        context.lineTo(width, y_of(value));
        context.stroke();
        context.fillText(data.y[1] === "share" ? percent(value) : short(Number(value.toPrecision(6))), LEFT - 5, y_of(value));
      }
      context.textAlign = "center";
      ticksOf(state.from, state.to, Math.max(2, Math.floor(width / 90))).forEach(x => context.fillText(x, x_of(x), floor + 10));
      context.fillText(
        `${data.x[0]}${data.x[1] && data.x[1] !== data.x[0] ? ` (${data.x[1]})` : ""}`,
        LEFT + (width - LEFT) / 2,
        floor + 26,
      );
      context.textAlign = "left";
      context.fillText(
        `${own.some(([line]) => line.signed) ? "difference of " : ""}${data.y[0]}${data.y[1] ? ` (${data.y[1]})` : ""}`,
        4,
        7,
      );
      context.save();
      context.beginPath();
      context.rect(LEFT, TOP - 2, width - LEFT, floor - TOP + 4);
      context.clip();
      own.forEach(([line], at) => {
        context.strokeStyle = context.fillStyle = css(line.color);
        if (data.mark === "bar")
          return paths[at].forEach(([, value], x) =>
            context.fillRect(x, y_of(value), Math.max(1, x_of(1) - x_of(0) - 1), floor - y_of(value)),
          );
        context.lineWidth = 1.5;
        context.beginPath();
        [...paths[at]].forEach(([x, [least, most]], point) => {
          if (point === 0) context.moveTo(x, y_of(least));
          else context.lineTo(x, y_of(least));
          if (most > least) context.lineTo(x, y_of(most));
        });
        context.stroke();
        if (paths[at].size <= 24)
          paths[at].forEach(([value], x) => {
            context.beginPath();
            context.arc(x, y_of(value), 3.5, 0, 7);
            context.fill();
          });
      });
      if (own.some(([line]) => line.signed)) {
        context.strokeStyle = css("--ink");
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(LEFT, y_of(0));
        context.lineTo(width, y_of(0));
        context.stroke();
      }
      const marked = [
        ...data.marks.map(([x, name]) => [x, name, "--needle"]),
        ...(data.needle && data.by_token ? [[data.needle[0], "needle", "--needle"]] : []),
        ...(state.at === null ? [] : [[state.at, "", "--query"]]),
      ];
      marked
        .filter(([x]) => x >= state.from && x <= state.to)
        .forEach(([x, name, color]) => {
          const place = x_of(data.mark === "bar" ? x + 0.5 : x);
          context.fillStyle = css(color);
          context.fillRect(place, TOP, 1.5, floor - TOP);
          context.fillText(name, Math.min(place + 4, width - 90), TOP + 8);
        });
      context.restore();
      chart.say(`${lines.length} lines of ${data.y[0]} from ${Math.round(state.from)} to ${Math.round(state.to)}`);
    });
    const nearest = ([x]) => {
      const value = state.from + ((x - LEFT) / (chart.canvas.clientWidth - LEFT - 6)) * (state.to - state.from);
      if (data.mark === "bar") return clamp(Math.floor(value), x_low, x_high - 1);
      const all = lines[0].x ? [...new Set(lines.flatMap(line => [...line.x]))] : [clamp(Math.round(value), x_low, x_high)];
      return all.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best), all[0]);
    };
    onPointer(chart.canvas, {
      hover: (place, event) => {
        state.at = nearest(place);
        showTip(event, saysOf(state.at));
        redraw();
      },
      leave: () => {
        state.at = null;
        redraw();
      },
      click: place => {
        last = nearest(place);
        redraw();
      },
      drag: dx => pan((-dx / (chart.canvas.clientWidth - LEFT)) * (state.to - state.from)),
      wheel: ([x], by) => zoom(state.from + ((x - LEFT) / (chart.canvas.clientWidth - LEFT)) * (state.to - state.from), by),
    });
    return chart;
  });
  let last = data.by_token ? x_low : 0;
  const indexOf = (line, x) => (line.x ? line.x.indexOf(x) : x - 1);
  const saysOf = x => {
    const name = data.by_token ? `token ${x}` : `${data.x[0]} ${x}`;
    const of_lines = lines
      .map((line, at) => [line, indexOf(line, x), smooth()[at]])
      .filter(([line, place]) => line.shown && place >= 0 && place < line.y.length)
      .map(([line, place, means]) => {
        const mean = state.smooth > 1 ? ` (mean of ${state.smooth}: ${withUnit(means[place], data.y[1])})` : "";
        return make(
          "p",
          {},
          make("span", {
            class: "dash",
            style: `display:inline-block;width:14px;height:3px;margin-right:5px;vertical-align:3px;background:var(${line.color})`,
          }),
          `${withUnit(line.y[place], data.y[1])}${mean} · ${visible(line.name)}`,
        );
      });
    return [
      make("b", {}, name),
      ...of_lines,
      data.by_token ? wordLine(x, 8) : data.chunk_len ? spanLine(x * data.chunk_len, (x + 1) * data.chunk_len) : null,
    ];
  };
  const whole = x_high - x_low;
  const zoom = (around, by) => {
    const span = clamp((state.to - state.from) * by, Math.min(whole, data.by_token ? 12 : 2), whole);
    state.from = clamp(around - ((around - state.from) * span) / (state.to - state.from), x_low, x_high - span);
    state.to = state.from + span;
    redraw();
  };
  const pan = by => {
    const span = state.to - state.from;
    state.from = clamp(state.from + by, x_low, x_high - span);
    state.to = state.from + span;
    redraw();
  };
  const smoothing = picker(
    "mean of",
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
      .concat([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].includes(data.smooth) ? [] : [data.smooth])
      .sort((a, b) => a - b)
      .map(of => [of, `${of} points`]),
    state.smooth,
    to => {
      state.smooth = Number(to);
      redraw();
    },
  );
  const buttons = lines.map(line => {
    const button = make(
      "button",
      {
        "aria-pressed": "true",
        onclick: () => {
          line.shown = !line.shown;
          button.setAttribute("aria-pressed", String(line.shown));
          redraw();
        },
      },
      make("span", { class: "dash", style: `background: var(${line.color})` }),
      visible(line.name),
    );
    return button;
  });
  const words = wordsBox("around the token");
  const middle = () => (state.from + state.to) / 2;
  return {
    controls: [
      lines[0].y.length > 64 ? smoothing.box : null,
      make(
        "button",
        {
          onclick: () => {
            [state.from, state.to] = [x_low, x_high];
            redraw();
          },
        },
        "whole",
      ),
    ],
    parts: [
      make("div", { class: "legend series" }, ...buttons),
      ...panels.map(chart => make("section", { class: "box" }, chart.canvas)),
      data.texts ? words.box : null,
      data.outputs
        ? make(
            "div",
            { class: "outputs" },
            ...data.outputs.map(([name, text]) =>
              make(
                "section",
                { class: "box" },
                make("h2", {}, visible(name)),
                make("div", { class: "words" }, text ? text.split("\n").map(visible).join("\n") : "(no text)"),
              ),
            ),
          )
        : null,
      data.difference ? differenceBox() : null,
    ],
    pick: row => {
      if (row.token !== undefined) {
        last = row.token;
        zoom(row.token, 64 / (state.to - state.from));
        pan(row.token - middle());
      }
    },
    draw: () => {
      smoothing.set(state.smooth);
      panels.forEach(chart => chart.paint());
      if (!data.texts) return;
      const at = state.at ?? last;
      if (data.chunk_len) {
        words.heading.textContent = `chunk ${at}, tokens ${at * data.chunk_len}–${Math.min((at + 1) * data.chunk_len, data.n_tokens) - 1}`;
        fillWords(words.words, at * data.chunk_len, Math.min((at + 1) * data.chunk_len, at * data.chunk_len + 400), {});
      } else {
        words.heading.textContent = `around token ${at}`;
        fillWords(words.words, at - 40, at + 40, {
          key: at,
          pick: token => {
            last = token;
            redraw();
          },
        });
      }
    },
    keys: {
      "+": () => zoom(middle(), 0.5),
      "=": () => zoom(middle(), 0.5),
      "-": () => zoom(middle(), 2),
      0: () => {
        [state.from, state.to] = [x_low, x_high];
        redraw();
      },
      ArrowLeft: () => pan((state.from - state.to) / 8),
      ArrowRight: () => pan((state.to - state.from) / 8),
      "[": () => {
        last = Math.max(x_low, last - 1);
        redraw();
      },
      "]": () => {
        last = Math.min(x_high, last + 1);
        redraw();
      },
    },
  };
};

// the second map minus the first, in two colours
const differenceBox = () => {
  const { side, stride, cells, layer, head } = data.difference;
  const top = cells.reduce((most, cell) => (Number.isFinite(cell) ? Math.max(most, Math.abs(cell)) : most), 0);
  const chart = canvasOf(
    "difference of two attention maps",
    width => Math.min(width, 520),
    (context, width) => {
      const size = Math.min(width, 520) / side;
      cells.forEach((cell, at) => {
        const [row, column] = [Math.floor(at / side), at % side];
        if (column > row) return;
        context.globalAlpha = Number.isFinite(cell) ? Math.sqrt(Math.abs(cell) / (top || 1)) : 0;
        context.fillStyle = css(cell > 0 ? "--line-1" : "--line-2");
        context.fillRect(column * size, row * size, size + 0.5, size + 0.5);
      });
      context.globalAlpha = 1;
    },
  );
  onPointer(chart.canvas, {
    hover: ([x, y], event) => {
      const size = Math.min(chart.canvas.clientWidth, 520) / side,
        [row, column] = [Math.floor(y / size), Math.floor(x / size)];
      if (column < 0 || row >= side || column > row) return hideTip();
      const cell = cells[row * side + column];
      showTip(event, [
        make("b", {}, `queries ${row * stride}–${(row + 1) * stride - 1}, keys ${column * stride}–${(column + 1) * stride - 1}`),
        Number.isFinite(cell)
          ? `attention ${cell >= 0 ? "+" : "−"}${percent(Math.abs(cell))} in the second run`
          : "not computed by both",
        spanLine(column * stride, (column + 1) * stride),
      ]);
    },
  });
  difference = chart;
  return make(
    "section",
    { class: "box" },
    make("h2", {}, `layer ${layer} head ${head}: attention of the second run minus that of the first, up to ±${percent(top)}`),
    make(
      "div",
      { class: "legend" },
      make("span", {}, outline("--line-1"), "more in the second"),
      make("span", {}, outline("--line-2"), "less"),
    ),
    chart.canvas,
  );
};
let difference = null;
