// ---- layers by heads ----

// a grid of all heads; `value` is the number that colours one, `small` draws one as a picture
const headGrid = ({ n_layers, n_heads, value, unit, name, lowest, pick, draw_small, widest }) => {
  const LEFT = 34,
    TOP = 16;
  const cell = width => clamp(Math.floor((width - LEFT) / n_heads), 5, widest);
  const tall = width => (draw_small && state.maps ? cell(width) : Math.min(cell(width), 18));
  const legend = scaleLegend(name);
  const at = ([x, y], width) => {
    const head = Math.floor((x - LEFT) / cell(width)),
      layer = Math.floor((y - TOP) / tall(width));
    return head >= 0 && head < n_heads && layer >= 0 && layer < n_layers ? [layer, head] : null;
  };
  const grid = canvasOf(
    "all heads",
    width => TOP + n_layers * tall(width) + 2,
    (context, width) => {
      const [w, h] = [cell(width), tall(width)];
      const values = range(n_layers * n_heads).map(value),
        known = values.filter(Number.isFinite);
      const top = Math.max(...known, 0),
        low = lowest ? Math.min(...known, top) : 0;
      context.fillStyle = css("--faint");
      context.textAlign = "center";
      range(n_heads)
        .filter(head => w >= 16 || head % Math.ceil(24 / w) === 0)
        .forEach(head => context.fillText(head, LEFT + (head + 0.5) * w, 8));
      context.textAlign = "right";
      range(n_layers)
        .filter(layer => h >= 11 || layer % Math.ceil(13 / h) === 0)
        .forEach(layer => context.fillText(`L${layer}`, LEFT - 5, TOP + (layer + 0.5) * h));
      values.forEach((number, at) => {
        const [x, y] = [LEFT + (at % n_heads) * w, TOP + Math.floor(at / n_heads) * h];
        const gap = w > 8 && h > 8 ? 1 : 0;
        if (draw_small && state.maps && w >= 12) {
          draw_small(context, at, x, y, w - gap, h - gap);
          if (isOff(Math.floor(at / n_heads), at % n_heads)) crossAt(context, x + w * 0.7, y + h * 0.3, w * 0.16, css("--ink"));
          return;
        }
        context.fillStyle = rgb(
          ramp(lowest ? 1 - (number - low) / (top - low || 1) : scaled(number, top, state.log && unit === "share")),
        );
        context.fillRect(x, y, w - gap, h - gap);
        context.fillStyle = inkOn(context.fillStyle);
        const is_off = isOff(Math.floor(at / n_heads), at % n_heads),
          has_number = w >= 56 && h >= 14;
        if (is_off) crossAt(context, has_number ? x + 8 : x + w / 2, y + h / 2, Math.min(w, h) * 0.28, context.fillStyle);
        if (!has_number) return;
        context.textAlign = "center";
        context.fillText(rounded(number, unit === "share" ? unit : ""), x + w / 2 + (is_off ? 5 : 0), y + h / 2);
      });
      context.lineWidth = 2;
      context.strokeStyle = css("--query");
      context.strokeRect(LEFT + state.head * w - 1, TOP + state.layer * h - 1, w + 1, h + 1);
      legend.draw(top, unit, lowest ? low : null);
      grid.say(
        `${n_layers} layers by ${n_heads} heads; layer ${state.layer}, head ${state.head}${isOff(state.layer, state.head) ? " (switched off)" : ""} is picked: ${name} ${withUnit(values[state.layer * n_heads + state.head], unit)}`,
      );
    },
  );
  onPointer(grid.canvas, {
    hover: (place, event) => {
      const found = at(place, grid.canvas.clientWidth);
      if (!found) return hideTip();
      showTip(event, [
        make("b", {}, headName(...found)),
        `${name}: ${withUnit(value(found[0] * n_heads + found[1]), unit)}`,
      ]);
    },
    click: place => {
      const found = at(place, grid.canvas.clientWidth);
      if (found) pick(...found);
    },
  });
  grid.canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    pick(clamp(state.layer + step[0], 0, n_layers - 1), clamp(state.head + step[1], 0, n_heads - 1));
  });
  return { ...grid, legend: make("div", { class: "legend" }, legend.box, offLegend()) };
};

// ---- attention along the text ----

// bars along the tokens of a text, which zoom from all of it to single tokens. `get` gives what is drawn: `starts` of the bars, `values`,
// `end`, and what is said of a bar
const profileOf = ({ label, height, get, hover, click }) => {
  const LEFT = 64,
    BOTTOM = 34,
    TOP = 14;
  const n = () => data.n_tokens;
  const chart = canvasOf(label, height, (context, width, high) => {
    const { starts, values, end, is_exact, marks } = get();
    const span = state.pto - state.pfrom,
      x_of = token => LEFT + ((token - state.pfrom) / span) * (width - LEFT - 4),
      floor = high - BOTTOM;
    const shown = range(values.length).filter(at => (starts[at + 1] ?? end) > state.pfrom && starts[at] < state.pto);
    const top = shown.reduce((most, at) => Math.max(most, values[at]), 0);
    const y_of = value => floor - scaled(value, top, state.log) * (floor - TOP);
    context.strokeStyle = css("--rule");
    context.fillStyle = css("--faint");
    context.textAlign = "right";
    const steps = state.log ? range(DECADES + 1).map(step => top / 10 ** step) : range(5).map(step => (top * (4 - step)) / 4);
    steps
      .filter(value => value > 0)
      .forEach(value => {
        const y = y_of(value);
        context.beginPath();
        context.moveTo(LEFT, y);
        context.lineTo(width, y);
        context.stroke();
        context.fillText(percent(Number(value.toPrecision(2))), LEFT - 4, y);
      });
    if (data.needle) {
      const [x0, x1] = data.needle.map(x_of);
      context.fillStyle = css("--needle");
      context.globalAlpha = 0.18;
      context.fillRect(x0, TOP, Math.max(2, x1 - x0), floor - TOP);
      context.globalAlpha = 1;
      context.textAlign = "left";
      if (x1 > LEFT && x0 < width) context.fillText("needle", clamp(x0, LEFT, width - 44), 7);
    }
    // of bars narrower than a pixel the highest is drawn
    const bar_width = (width - LEFT) / Math.max(1, shown.length);
    const drawn = new Map();
    shown.forEach(at => {
      const x0 = Math.max(LEFT, x_of(starts[at])),
        x1 = Math.min(width, x_of(starts[at + 1] ?? end));
      const column = bar_width < 1.5 ? Math.floor(x0) : at;
      const last = drawn.get(column);
      if (!last || values[last[0]] < values[at]) drawn.set(column, [at, x0, Math.max(1, x1 - x0 - (x1 - x0 > 4 ? 1 : 0))]);
    });
    drawn.forEach(([at, x, w]) => {
      context.fillStyle =
        marks && marks[at] === 2 ? css("--faint") : marks && marks[at] === 1 ? css("--line-3") : css("--accent");
      context.globalAlpha = marks && !marks[at] ? 0.35 : 1;
      context.fillRect(x, y_of(values[at]), w, floor - y_of(values[at]));
    });
    context.globalAlpha = 1;
    if (state.query >= state.pfrom && state.query < state.pto) {
      context.fillStyle = css("--query");
      context.fillRect(clamp(x_of(state.query), LEFT, width - 2), TOP, 2, floor - TOP);
    }
    context.fillStyle = css("--faint");
    context.textAlign = "center";
    const each = (width - LEFT) / span;
    if (each >= 13 && data.texts && is_exact) {
      range(Math.ceil(span))
        .map(at => Math.floor(state.pfrom) + at)
        .filter(token => token < n())
        .forEach(token => {
          context.save();
          context.translate(x_of(token + 0.5), floor + 4);
          if (each < 52) {
            context.rotate(-0.9);
            context.textAlign = "right";
          }
          context.fillStyle = inNeedle(token) ? css("--needle") : token === state.query ? css("--query") : css("--ink");
          context.fillText(wordOf(token).trim().slice(0, 10), 0, 6);
          context.restore();
        });
    } else
      ticksOf(state.pfrom, state.pto, Math.max(2, Math.floor(width / 110))).forEach(token =>
        context.fillText(token, x_of(token), floor + 10),
      );
    context.textAlign = "right";
    if (each < 13 || !is_exact) context.fillText("token", width - 4, floor + 24);
  });
  const bar = ([x]) => {
    const { starts, values } = get(),
      width = chart.canvas.clientWidth;
    const token = state.pfrom + ((x - LEFT) / (width - LEFT - 4)) * (state.pto - state.pfrom);
    if (token < 0 || x < LEFT) return null;
    let low = 0,
      high = values.length - 1;
    while (low < high) {
      const half = (low + high + 1) >> 1;
      if (starts[half] <= token) low = half;
      else high = half - 1;
    }
    return token < (starts[low + 1] ?? get().end) ? low : null;
  };
  const zoom = (around, by) => {
    const span = clamp((state.pto - state.pfrom) * by, Math.min(16, n()), n());
    state.pfrom = clamp(around - ((around - state.pfrom) * span) / (state.pto - state.pfrom), 0, n() - span);
    state.pto = state.pfrom + span;
    redraw();
  };
  const pan = by => {
    const span = state.pto - state.pfrom;
    state.pfrom = clamp(state.pfrom + by, 0, n() - span);
    state.pto = state.pfrom + span;
    redraw();
  };
  onPointer(chart.canvas, {
    hover: (place, event) => {
      const at = bar(place);
      if (at === null) hideTip();
      else showTip(event, hover(at));
    },
    click: place => {
      const at = bar(place);
      if (at !== null && click) click(at);
    },
    drag: dx => pan((-dx / chart.canvas.clientWidth) * (state.pto - state.pfrom)),
    wheel: ([x], by) => zoom(state.pfrom + ((x - LEFT) / (chart.canvas.clientWidth - LEFT)) * (state.pto - state.pfrom), by),
  });
  const middle = () => (state.pfrom + state.pto) / 2;
  const keys = {
    "+": () => zoom(middle(), 0.5),
    "=": () => zoom(middle(), 0.5),
    "-": () => zoom(middle(), 2),
    0: () => {
      [state.pfrom, state.pto] = [0, n()];
      redraw();
    },
    ArrowLeft: () => pan((state.pfrom - state.pto) / 8),
    ArrowRight: () => pan((state.pto - state.pfrom) / 8),
  };
  return {
    ...chart,
    keys,
    around: (token, span) => {
      const wide = Math.min(span, n());
      state.pfrom = clamp(token - wide / 2, 0, n() - wide);
      state.pto = state.pfrom + wide;
    },
  };
};
const ticksOf = (from, to, n) => {
  const rough = Math.max(1, (to - from) / n),
    power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map(of => of * power).find(of => of >= rough),
  );
  return range(Math.floor(to / step) - Math.ceil(from / step) + 1).map(at => (Math.ceil(from / step) + at) * step);
};
