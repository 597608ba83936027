// ---- view: the attention map ----

const mapView = () => {
  const { n_layers, n_heads } = data,
    n = data.n_tokens;
  Object.assign(state, {
    layer: data.layer,
    head: data.head,
    query: data.query,
    key: null,
    x: 0,
    y: 0,
    len: n,
    maps: 0,
    pfrom: 0,
    pto: n,
  });
  recall();
  inRange(n_layers, n_heads);
  state.query = clamp(Math.round(state.query), 0, n - 1);
  state.len = clamp(state.len, Math.min(12, n), n);
  [state.x, state.y] = [state.x, state.y].map(first => clamp(first, 0, n - state.len));
  let hover = null;
  const picked = () => state.layer * n_heads + state.head;
  const small = (head, at = 0) =>
    data.small.mean ? data.small.mean.subarray(head * data.small.side ** 2 + at, (head + 1) * data.small.side ** 2) : null;
  // maps of the picked head, coarse ones first; of heads without any their small one
  const levels = () => {
    const own = data.levels.filter(level => level.layer === state.layer && level.head === state.head);
    const whole = {
      query: 0,
      key: 0,
      len: n,
      side: data.small.side,
      stride: data.small.stride,
      mean: small(picked()),
      max: null,
    };
    return (own.length ? own : whole.mean ? [whole] : []).sort((a, b) => b.stride - a.stride);
  };
  const isStored = () => data.levels.some(level => level.layer === state.layer && level.head === state.head);
  const cells = level => (state.max && level.max ? level.max : level.mean);
  // attention on one key, so that cells of different sizes have one scale
  const density = (level, value) => (state.max && level.max ? value : value / level.stride);
  const covers = (level, query, key) =>
    query >= level.query &&
    query < level.query + level.side * level.stride &&
    key >= level.key &&
    key < level.key + level.side * level.stride;
  // maps that are drawn: the coarsest, and finer ones that pixels can show
  const drawn = side => levels().filter((level, at) => at === 0 || state.len / level.stride <= 1.3 * side);
  const cellAt = (query, key, side) => {
    if (query < 0 || key < 0 || query >= n || key >= n) return null;
    const level = drawn(side).findLast(level => covers(level, query, key));
    if (!level) return null;
    const [row, column] = [Math.floor((query - level.query) / level.stride), Math.floor((key - level.key) / level.stride)];
    const from = level.query + row * level.stride,
      start = level.key + column * level.stride;
    // keys that all come after the cell's queries
    if (start > Math.min(from + level.stride, n) - 1) return null;
    const at = row * level.side + column;
    return {
      level,
      from,
      start,
      to: Math.min(from + level.stride, n),
      end: Math.min(start + level.stride, n),
      mean: level.mean[at],
      max: level.max ? level.max[at] : null,
    };
  };

  const LEFT = 88,
    BOTTOM = 62,
    TOP = 16,
    RIGHT = 8;
  const legend = scaleLegend("attention on a key");
  const sheet = document.createElement("canvas"),
    sheet_context = sheet.getContext("2d");
  const sideOf = width => Math.max(80, width - LEFT - RIGHT);
  const visibleCells = level => {
    const at = (value, origin) => clamp((value - origin) / level.stride, 0, level.side);
    return [
      Math.floor(at(state.x, level.key)),
      Math.ceil(at(state.x + state.len, level.key)),
      Math.floor(at(state.y, level.query)),
      Math.ceil(at(state.y + state.len, level.query)),
    ];
  };
  const paintLevel = (context, level, top, colors, x_of, y_of) => {
    const [x0, x1, y0, y1] = visibleCells(level),
      values = cells(level);
    if (x1 <= x0 || y1 <= y0) return;
    [sheet.width, sheet.height] = [x1 - x0, y1 - y0];
    const image = sheet_context.createImageData(x1 - x0, y1 - y0);
    let at = 0;
    for (let row = y0; row < y1; row++) {
      const last_query = level.query + (row + 1) * level.stride - 1;
      for (let column = x0; column < x1; column++, at += 4) {
        if (level.key + column * level.stride > last_query) continue;
        const color = 3 * Math.round(RAMP_STEPS * scaled(density(level, values[row * level.side + column]), top, state.log));
        image.data[at] = colors[color];
        image.data[at + 1] = colors[color + 1];
        image.data[at + 2] = colors[color + 2];
        image.data[at + 3] = 255;
      }
    }
    sheet_context.putImageData(image, 0, 0);
    context.drawImage(
      sheet,
      x_of(level.key + x0 * level.stride),
      y_of(level.query + y0 * level.stride),
      x_of(level.key + x1 * level.stride) - x_of(level.key + x0 * level.stride),
      y_of(level.query + y1 * level.stride) - y_of(level.query + y0 * level.stride),
    );
  };
  const map = canvasOf(
    "attention map",
    width => sideOf(width) + TOP + BOTTOM,
    (context, width) => {
      const side = sideOf(width),
        per = side / state.len;
      const x_of = key => LEFT + (key - state.x) * per,
        y_of = query => TOP + (query - state.y) * per;
      const shown = drawn(side),
        colors = palette();
      let top = 0;
      for (const level of shown) {
        const [x0, x1, y0, y1] = visibleCells(level),
          values = cells(level);
        for (let row = y0; row < y1; row++)
          for (let column = x0; column < x1; column++) top = Math.max(top, density(level, values[row * level.side + column]));
      }
      context.save();
      context.beginPath();
      context.rect(LEFT, TOP, side, side);
      context.clip();
      context.imageSmoothingEnabled = false;
      context.fillStyle = css("--raised");
      context.fillRect(LEFT, TOP, side, side);
      shown.forEach(level => paintLevel(context, level, top, colors, x_of, y_of));
      // beyond the last token there is nothing
      context.fillStyle = css("--ground");
      context.fillRect(x_of(n), TOP, side, side);
      context.fillRect(LEFT, y_of(n), side, side);
      context.setLineDash([4, 3]);
      context.strokeStyle = css("--faint");
      levels()
        .filter(level => !shown.includes(level) && level.len < n)
        .forEach(level => {
          const size = Math.max(6, level.len * per);
          context.strokeRect(x_of(level.key), y_of(level.query), size, size);
        });
      context.setLineDash([]);
      context.lineWidth = 1.5;
      if (data.needle) {
        context.strokeStyle = css("--needle");
        const [x0, x1] = data.needle.map(x_of);
        context.strokeRect(x0 - 1, TOP - 2, Math.max(2, x1 - x0) + 2, side + 4);
      }
      context.strokeStyle = css("--query");
      context.strokeRect(LEFT - 2, y_of(state.query) - 1, side + 4, Math.max(2, per) + 2);
      if (state.key !== null) {
        context.strokeStyle = css("--accent");
        context.strokeRect(x_of(state.key) - 1, TOP - 2, Math.max(2, per) + 2, side + 4);
      }
      if (hover) {
        context.strokeStyle = css("--ink");
        context.strokeRect(x_of(hover.start), y_of(hover.from), (hover.end - hover.start) * per, (hover.to - hover.from) * per);
      }
      context.restore();
      context.strokeStyle = css("--rule");
      context.lineWidth = 1;
      context.strokeRect(LEFT - 0.5, TOP - 0.5, side + 1, side + 1);
      axes(context, side, per, x_of, y_of);
      legend.draw(top, "share");
      const finest = shown.filter(level => covers(level, state.y + state.len / 2, state.x + state.len / 2)).at(-1);
      note.textContent = `${short(Math.round(state.len))} of ${n} tokens a side · ${finest ? (finest.stride === 1 ? "single tokens" : `${finest.stride} tokens a cell`) : "nothing stored"} in the middle${!isStored() ? " · of this head only a small map is stored" : levels().some(level => level.len < n) ? " · dashed: windows of single tokens" : ""}`;
      map.say(
        `attention map of ${headName(state.layer, state.head)}, queries ${Math.round(state.y)} to ${Math.round(Math.min(n, state.y + state.len))}, keys ${Math.round(state.x)} to ${Math.round(Math.min(n, state.x + state.len))}`,
      );
    },
  );
  const note = make("p", { class: "note" });
  const axes = (context, side, per, x_of, y_of) => {
    const words = per >= 11 && data.texts;
    const color = token => (token === state.query ? css("--query") : inNeedle(token) ? css("--needle") : css("--faint"));
    const tokens = first =>
      words
        ? range(Math.ceil(state.len) + 1).map(at => Math.floor(first) + at)
        : ticksOf(first, first + state.len, Math.max(2, Math.floor(side / 90)));
    tokens(state.y)
      .filter(token => token < n && y_of(token + 0.5) > TOP && y_of(token + (words ? 0.5 : 0)) < TOP + side)
      .forEach(token => {
        context.fillStyle = color(token);
        context.textAlign = "right";
        context.fillText(words ? wordOf(token).trim().slice(0, 11) || "·" : token, LEFT - 6, y_of(token + (words ? 0.5 : 0)));
      });
    tokens(state.x)
      .filter(token => token < n && x_of(token + 0.5) > LEFT && x_of(token + (words ? 0.5 : 0)) < LEFT + side)
      .forEach(token => {
        context.fillStyle = color(token);
        context.save();
        context.translate(x_of(token + (words ? 0.5 : 0)), TOP + side + 8);
        if (words) {
          context.rotate(-0.9);
          context.textAlign = "right";
        } else context.textAlign = "center";
        context.fillText(words ? wordOf(token).trim().slice(0, 9) || "·" : token, 0, words ? 2 : 4);
        context.restore();
      });
    context.fillStyle = css("--faint");
    context.textAlign = "right";
    context.fillText("key →", LEFT + side, TOP + side + BOTTOM - 8);
    context.save();
    context.translate(10, TOP + side / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText("← query", 0, 0);
    context.restore();
    if (data.needle && x_of(data.needle[1]) > LEFT && x_of(data.needle[0]) < LEFT + side) {
      context.fillStyle = css("--needle");
      context.textAlign = "center";
      context.fillText("needle", clamp(x_of((data.needle[0] + data.needle[1]) / 2), LEFT + 22, LEFT + side - 22), 6);
    }
  };
  const least = Math.min(12, n);
  const look = (x, y, len) => {
    state.len = clamp(len, least, n);
    state.x = clamp(x, 0, n - state.len);
    state.y = clamp(y, 0, n - state.len);
    [state.pfrom, state.pto] = [state.x, state.x + state.len];
    redraw();
  };
  const zoom = (key, query, by) => {
    const len = clamp(state.len * by, least, n),
      share = len / state.len;
    look(key - (key - state.x) * share, query - (query - state.y) * share, len);
  };
  const token = ([x, y]) => {
    const per = sideOf(map.canvas.clientWidth) / state.len;
    return [state.y + (y - TOP) / per, state.x + (x - LEFT) / per];
  };
  const lines = cell => {
    const { level, from, to, start, end, mean, max } = cell;
    if (level.stride === 1) {
      return [
        make("b", {}, `${headName(state.layer, state.head)} · attention ${percent(mean)}`),
        `query ${from}`,
        wordLine(from),
        `key ${start}, ${from - start} back${inNeedle(start) ? ", in the needle" : ""}`,
        wordLine(start),
      ];
    }
    return [
      make("b", {}, `${headName(state.layer, state.head)} · attention ${percent(mean)}`),
      `of queries ${from}–${to - 1} on keys ${start}–${end - 1}, a mean over the queries`,
      max === null ? null : `largest single weight ${percent(max)}`,
      data.needle && start < data.needle[1] && end > data.needle[0] ? "holds the needle" : null,
      spanLine(start, end),
    ];
  };
  onPointer(map.canvas, {
    hover: (place, event) => {
      const [query, key] = token(place),
        inside = place[0] >= LEFT && place[1] >= TOP && place[1] < TOP + sideOf(map.canvas.clientWidth);
      hover = inside ? cellAt(Math.floor(query), Math.floor(key), sideOf(map.canvas.clientWidth)) : null;
      if (hover) showTip(event, lines(hover));
      else hideTip();
      redraw();
    },
    leave: () => {
      hover = null;
      redraw();
    },
    drag: (dx, dy) => {
      const per = sideOf(map.canvas.clientWidth) / state.len;
      look(state.x - dx / per, state.y - dy / per, state.len);
    },
    wheel: (place, by) => {
      const [query, key] = token(place);
      zoom(key, query, by);
    },
    click: place => {
      const [query, key] = token(place).map(Math.floor);
      if (query >= 0 && query < n) {
        state.query = query;
        state.key = key >= 0 && key <= query ? key : null;
        redraw();
      }
    },
  });
  map.canvas.addEventListener("dblclick", event => {
    const [query, key] = token(placeOf(event, map.canvas));
    zoom(key, query, 0.4);
  });

  // attention of the picked query: every key where the row is stored, else the finest map that holds it
  const rowOf = () => {
    const row = data.rows.find(row => row.layer === state.layer && row.head === state.head && row.query === state.query);
    if (row) return { starts: range(row.weights.length), values: row.weights, end: row.weights.length, is_exact: true };
    const found = levels()
      .filter(level => level.key === 0 && level.len === n)
      .findLast(level => covers(level, state.query, 0));
    if (!found) return { starts: [0], values: [0], end: n, is_exact: false };
    const at = Math.floor((state.query - found.query) / found.stride),
      width = Math.min(found.side, at + 1);
    return {
      starts: range(width).map(cell => cell * found.stride),
      values: found.mean.subarray(at * found.side, at * found.side + width),
      end: Math.min(n, width * found.stride),
      is_exact: found.stride === 1,
      stride: found.stride,
    };
  };
  const row_title = make("h2"),
    top_title = make("h2"),
    top_keys = make("ol", { class: "keys" });
  const profile = profileOf({
    label: "attention of the picked query along the text",
    height: 170,
    get: rowOf,
    hover: at => {
      const row = rowOf();
      return row.is_exact
        ? [
            make("b", {}, `query ${state.query} · key ${at}`),
            `attention ${percent(row.values[at])}`,
            `${state.query - at} tokens back${inNeedle(at) ? ", in the needle" : ""}`,
            wordLine(at),
          ]
        : [
            make("b", {}, `queries around ${state.query}`),
            `attention ${percent(row.values[at])} on keys ${row.starts[at]}–${(row.starts[at + 1] ?? row.end) - 1}`,
            spanLine(row.starts[at], row.starts[at + 1] ?? row.end),
          ];
    },
    click: at => {
      state.key = rowOf().starts[at];
      redraw();
    },
  });
  const pick = (layer, head) => {
    [state.layer, state.head] = [layer, head];
    hover = null;
    live.textContent = headName(layer, head);
    redraw();
  };
  const drawSmall = (context, head, x, y, w, h) => {
    const values = small(head),
      side = data.small.side,
      stride = data.small.stride;
    if (!values) return;
    const top = values.reduce((most, value) => Math.max(most, value / stride), 0),
      colors = palette();
    [sheet.width, sheet.height] = [side, side];
    const image = sheet_context.createImageData(side, side);
    range(side * side)
      .filter(at => at % side <= Math.floor(at / side))
      .forEach(at => {
        const color = 3 * Math.round(RAMP_STEPS * scaled(values[at] / stride, top, state.log));
        image.data.set([colors[color], colors[color + 1], colors[color + 2], 255], 4 * at);
      });
    sheet_context.putImageData(image, 0, 0);
    context.drawImage(sheet, x, y, w, h);
  };
  const grid = headGrid({
    n_layers,
    n_heads,
    value: at => data.number.values[at],
    unit: "share",
    name: data.number.name,
    lowest: false,
    pick,
    draw_small: drawSmall,
    widest: 44,
  });
  const controls = {
    layer: picker(
      "layer",
      range(n_layers).map(at => [at, at]),
      state.layer,
      to => pick(Number(to), state.head),
    ),
    head: picker(
      "head",
      range(n_heads).map(at => [at, at]),
      state.head,
      to => pick(state.layer, Number(to)),
    ),
    query: numberBox("query", 0, n - 1, to => {
      state.query = to;
      redraw();
    }),
  };
  const log = toggle(
    "log",
    "colours by powers of ten (l)",
    () => state.log,
    to => {
      state.log = to ? 1 : 0;
    },
  );
  const max = toggle(
    "largest",
    "the largest weight of a cell in place of the mean (m)",
    () => state.max,
    to => {
      state.max = to ? 1 : 0;
    },
  );
  const maps = toggle(
    "maps",
    "the map of every head in place of its number",
    () => state.maps,
    to => {
      state.maps = to ? 1 : 0;
    },
  );
  const jumps = make("span", { class: "jumps" }),
    stored = make(
      "span",
      {},
      "stored heads: ",
      ...data.heads.map(([layer, head]) => make("button", { onclick: () => pick(layer, head) }, `L${layer} H${head}${isOff(layer, head) ? " ×" : ""}`)),
    );
  const query_words = wordsBox("around the query"),
    key_words = wordsBox("around the key");
  const placeName = level => {
    const holds = token => token !== null && token >= level.key && token < level.key + level.len;
    if (data.needle && holds(data.needle[0])) return level.query === level.key ? "needle" : "query × needle";
    return level.key === 0
      ? "query × first tokens"
      : level.query === level.key
        ? "query × nearby"
        : `${level.query} × ${level.key}`;
  };
  const center = (query, key, len) => look(key - len / 2, query - len / 2, len);
  return {
    pick_says: true,
    controls: [controls.layer.box, controls.head.box, controls.query.box, log.box, max.box, stored],
    parts: [
      make(
        "div",
        { class: "columns" },
        make(
          "div",
          {},
          make(
            "section",
            { class: "box" },
            make("div", { class: "legend" }, legend.box, markLegend()),
            map.canvas,
            note,
            make("div", { class: "controls" }, jumps),
          ),
          make("section", { class: "box" }, row_title, profile.canvas),
        ),
        make(
          "div",
          {},
          query_words.box,
          key_words.box,
          make("section", { class: "box" }, top_title, top_keys),
          make(
            "section",
            { class: "box" },
            make("h2", {}, `all heads: ${data.number.name} `),
            make("div", { class: "legend" }, grid.legend, maps.box),
            make("div", { class: "scroll" }, grid.canvas),
          ),
        ),
      ),
    ],
    pick: row => {
      if (row.query !== undefined && row.key !== undefined) {
        state.query = row.query;
        state.key = row.key;
        center(row.query, row.key, Math.min(n, Math.max(48, 8 * (row.n_tokens || 1))));
      }
    },
    draw: () => {
      controls.layer.set(state.layer);
      controls.head.set(state.head);
      controls.query.set(state.query);
      [log, max, maps].forEach(one => one.draw());
      const windows = levels().filter(level => level.len < n && level.stride === 1);
      jumps.replaceChildren(
        ...(windows.length ? ["single tokens: "] : []),
        ...windows.map(level =>
          make("button", { onclick: () => look(level.key, level.query, Math.min(level.len, n)) }, placeName(level)),
        ),
        make("button", { onclick: () => look(0, 0, n) }, "whole text"),
        make(
          "button",
          { onclick: () => center(state.query, state.key ?? (data.needle ? data.needle[0] : state.query), Math.min(40, n)) },
          "words",
        ),
      );
      const row = rowOf();
      row_title.textContent = `${headName(state.layer, state.head)}, query ${state.query}: ${row.is_exact ? "attention on every key" : `attention by ${row.stride} keys, a mean over the queries of its cell`}`;
      [map, profile, grid].forEach(part => part.paint());
      const weight = row.is_exact ? at => row.values[at] ?? 0 : null,
        key = hover ? hover.start : (state.key ?? (data.needle ? data.needle[0] : 0));
      const most = row.is_exact ? row.values.reduce((most, share) => Math.max(most, share), 0) : 1;
      query_words.words.top = key_words.words.top = most;
      const from_words = token => {
        state.query = token;
        redraw();
      };
      fillWords(query_words.words, state.query - 30, state.query + 10, {
        query: state.query,
        key: state.key,
        weight,
        pick: from_words,
      });
      query_words.heading.textContent = `around query ${state.query}${weight ? ", coloured by its attention" : ""}`;
      key_words.heading.textContent = `around key ${key}`;
      fillWords(key_words.words, key - 20, key + 28, {
        query: state.query,
        key,
        weight,
        pick: token => {
          state.key = token;
          redraw();
        },
      });
      const order = range(row.values.length)
        .sort((a, b) => row.values[b] - row.values[a])
        .slice(0, 8)
        .filter(at => row.values[at] > 0);
      // a cell's share is that of all its keys, and no token's
      const cell = row.stride ? Math.floor(state.query / row.stride) * row.stride : 0;
      top_title.textContent = row.is_exact
        ? "keys with most attention of the query"
        : `ranges of ${row.stride} keys with most attention, a mean over queries ${cell}–${Math.min(n, cell + row.stride) - 1}`;
      const named = at => {
        const start = row.starts[at];
        if (row.is_exact) return `${String(start).padEnd(7)} ${textOf(Math.max(0, start - 3), start)}⟨${wordOf(start)}⟩${textOf(start + 1, start + 4)}`;
        const end = Math.min(row.end, row.starts[at + 1] ?? row.end);
        return `${`${start}–${end - 1}`.padEnd(11)} ${textOf(start, Math.min(end, start + 8))}…`;
      };
      top_keys.replaceChildren(
        ...order.map(at =>
          make(
            "li",
            {},
            make(
              "button",
              {
                onclick: () => {
                  state.key = row.starts[at];
                  center(state.query, state.key, Math.max(40, 8 * (row.stride || 1)));
                },
              },
              `${percent(row.values[at]).padStart(9)}  ${named(at)}`,
            ),
          ),
        ),
      );
    },
    keys: {
      ...headKeys(n_layers, n_heads, pick),
      "[": () => {
        state.query = Math.max(0, state.query - 1);
        live.textContent = `query ${state.query}`;
        redraw();
      },
      "]": () => {
        state.query = Math.min(n - 1, state.query + 1);
        live.textContent = `query ${state.query}`;
        redraw();
      },
      "{": () => {
        state.query = Math.max(0, state.query - 16);
        redraw();
      },
      "}": () => {
        state.query = Math.min(n - 1, state.query + 16);
        redraw();
      },
      "+": () => zoom(state.x + state.len / 2, state.y + state.len / 2, 0.5),
      "=": () => zoom(state.x + state.len / 2, state.y + state.len / 2, 0.5),
      "-": () => zoom(state.x + state.len / 2, state.y + state.len / 2, 2),
      0: () => look(0, 0, n),
      "*": () => center(state.query, data.needle ? data.needle[0] : state.query, Math.min(64, n)),
      ArrowLeft: () => look(state.x - state.len / 8, state.y, state.len),
      ArrowRight: () => look(state.x + state.len / 8, state.y, state.len),
      ArrowUp: () => look(state.x, state.y - state.len / 8, state.len),
      ArrowDown: () => look(state.x, state.y + state.len / 8, state.len),
      m: () => {
        state.max = state.max ? 0 : 1;
        redraw();
      },
    },
  };
};
