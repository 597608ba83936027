// ---- view: heads by chunks, layers by heads ----

const headsView = () => {
  const { n_layers, n_heads, chunk_len, queries } = data,
    n_all = n_layers * n_heads;
  const best = () => {
    const numbers = now().number,
      sign = data.number.lowest_first ? 1 : -1;
    return range(n_all).sort((a, b) => sign * (numbers[a] - numbers[b]) || a - b);
  };
  Object.assign(state, {
    layer: 0,
    head: 0,
    query: data.query,
    key: null,
    rows: data.layer !== null ? `layer${data.layer}` : n_all > 40 ? "best" : "all",
    choice: data.is_choice ? 1 : 0,
    pfrom: 0,
    pto: data.n_tokens,
  });
  const now = () => queries.find(one => one.query === state.query) || queries[queries.length - 1];
  const first = best()[0];
  [state.layer, state.head] = [Math.floor(first / n_heads), first % n_heads];
  recall();
  if (!queries.some(one => one.query === state.query))
    state.query = queries.some(one => one.query === data.query) ? data.query : queries[0].query;
  inRange(n_layers, n_heads);
  const n_chunks = () => Math.floor(now().query / chunk_len) + 1;
  const mass = head => now().mass.subarray(head * n_chunks(), (head + 1) * n_chunks());
  const chosen = head =>
    now().chosen && state.choice ? now().chosen.subarray(head * n_chunks(), (head + 1) * n_chunks()) : null;
  const picked = () => state.layer * n_heads + state.head;
  const nameOf = head => headName(Math.floor(head / n_heads), head % n_heads);
  const exact = () => data.rows.find(row => row.layer === state.layer && row.head === state.head && row.query === now().query);
  const pick = (layer, head) => {
    [state.layer, state.head] = [layer, head];
    live.textContent = nameOf(layer * n_heads + head);
    redraw();
  };
  const rowsOf = () => {
    const layer = /^layer(\d+)$/.exec(state.rows);
    if (layer && Number(layer[1]) < n_layers) return range(n_heads).map(head => Number(layer[1]) * n_heads + head);
    return state.rows === "best" ? best().slice(0, 32) : range(n_all);
  };

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
    query: picker(
      "query",
      queries.map(({ query }) => [query, `${query} ${wordOf(query).slice(0, 14)}`]),
      state.query,
      to => {
        state.query = Number(to);
        redraw();
      },
    ),
    rows: picker(
      "heads",
      [["best", "the best 32"], ["all", "all, by layer"], ...range(n_layers).map(at => [`layer${at}`, `of layer ${at}`])],
      state.rows,
      to => {
        state.rows = to;
        redraw();
      },
    ),
  };
  const log = toggle(
    "log",
    "colours and bars by powers of ten (l)",
    () => state.log,
    to => {
      state.log = to ? 1 : 0;
    },
  );
  const choice = toggle(
    "choice",
    "chosen chunks, or attention alone",
    () => state.choice,
    to => {
      state.choice = to ? 1 : 0;
    },
  );
  const legend = scaleLegend("attention on a chunk");

  const LEFT = 78,
    TOP = 18;
  const row_height = () => clamp(Math.floor(600 / rowsOf().length), 4, 17);
  const matrix = canvasOf(
    "heads by chunks",
    () => TOP + rowsOf().length * row_height() + 20,
    (context, width, high) => {
      const rows = rowsOf(),
        h = row_height(),
        w = (width - LEFT) / n_chunks();
      const top = rows.reduce((most, head) => mass(head).reduce((most, share) => Math.max(most, share), most), 0);
      rows.forEach((head, at) => {
        const marks = chosen(head),
          y = TOP + at * h;
        mass(head).forEach((share, chunk) => {
          if (marks && !marks[chunk] && marks.some(Boolean)) context.fillStyle = css("--low");
          else context.fillStyle = rgb(ramp(scaled(share, top, state.log)));
          context.fillRect(LEFT + chunk * w, y, Math.max(1, w) + (w < 6 ? 0.5 : -0.5), h - (h > 6 ? 1 : 0));
        });
        if (h >= 9 || head % n_heads === 0) {
          context.fillStyle = head === picked() ? css("--query") : css("--faint");
          context.textAlign = "right";
          context.fillText(
            h >= 9 ? `L${Math.floor(head / n_heads)} H${head % n_heads}` : `L${Math.floor(head / n_heads)}`,
            LEFT - 12,
            y + h / 2,
          );
        }
        if (isOff(Math.floor(head / n_heads), head % n_heads)) crossAt(context, LEFT - 6, y + h / 2, Math.min(3.5, h / 2), css("--ink"));
      });
      context.lineWidth = 2;
      const place = rows.indexOf(picked());
      context.strokeStyle = css("--query");
      if (place >= 0) context.strokeRect(LEFT - 1, TOP + place * h - 1, width - LEFT, h + 1);
      context.textAlign = "center";
      if (data.needle) {
        const [from, to] = [Math.floor(data.needle[0] / chunk_len), Math.ceil(data.needle[1] / chunk_len)];
        if (from < n_chunks()) {
          context.strokeStyle = context.fillStyle = css("--needle");
          context.strokeRect(LEFT + from * w, TOP - 1, Math.max(3, (to - from) * w), rows.length * h + 2);
          context.fillText("needle", clamp(LEFT + ((from + to) / 2) * w, LEFT + 22, width - 22), 8);
        }
      }
      context.fillStyle = css("--faint");
      ticksOf(0, n_chunks() - 1, Math.max(2, Math.floor(width / 80))).forEach(chunk =>
        context.fillText(chunk, LEFT + (chunk + 0.5) * w, high - 10),
      );
      context.textAlign = "left";
      context.fillText("chunk", 4, high - 10);
      legend.draw(top, "share");
      matrix.say(`attention of ${rows.length} heads on ${n_chunks()} chunks; ${nameOf(picked())} is picked`);
    },
  );
  const cellAt = ([x, y]) => {
    const row = Math.floor((y - TOP) / row_height()),
      chunk = Math.floor(((x - LEFT) / (matrix.canvas.clientWidth - LEFT)) * n_chunks());
    return row >= 0 && row < rowsOf().length && chunk >= 0 && chunk < n_chunks() ? [rowsOf()[row], chunk] : null;
  };
  const chunkLines = (head, chunk) => {
    const marks = now().chosen && now().chosen.subarray(head * n_chunks(), (head + 1) * n_chunks());
    const [from, to] = [chunk * chunk_len, Math.min((chunk + 1) * chunk_len, now().query + 1)];
    const is_needle = data.needle && from < data.needle[1] && to > data.needle[0];
    return [
      make("b", {}, `${nameOf(head)} · chunk ${chunk}`),
      `attention ${percent(mass(head)[chunk])} from token ${now().query}`,
      marks && marks.some(Boolean) ? ["not chosen", "chosen", "always chosen"][marks[chunk]] : null,
      `tokens ${from}–${to - 1}${is_needle ? ", the needle's" : ""}`,
      spanLine(from, to),
    ];
  };
  const showChunk = chunk => {
    state.key = chunk * chunk_len;
    redraw();
  };
  onPointer(matrix.canvas, {
    hover: (place, event) => {
      const found = cellAt(place);
      if (!found) return hideTip();
      showTip(event, chunkLines(...found));
      if (state.key !== found[1] * chunk_len) showChunk(found[1]);
    },
    click: place => {
      const found = cellAt(place);
      if (found) {
        showChunk(found[1]);
        pick(Math.floor(found[0] / n_heads), found[0] % n_heads);
      }
    },
  });
  matrix.canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const rows = rowsOf(),
      head = rows[clamp(Math.max(0, rows.indexOf(picked())) + step[0], 0, rows.length - 1)];
    const chunk = clamp(Math.floor((state.key ?? 0) / chunk_len) + step[1], 0, n_chunks() - 1);
    pick(Math.floor(head / n_heads), head % n_heads);
    showChunk(chunk);
    live.textContent = chunkLines(head, chunk)
      .filter(Boolean)
      .map(line => line.textContent ?? line)
      .join(", ");
  });

  const grid = headGrid({
    n_layers,
    n_heads,
    value: at => now().number[at],
    unit: data.number.unit,
    name: data.number.name,
    lowest: data.number.lowest_first,
    pick,
    widest: data.first === "grid" ? 72 : 34,
  });
  const profile = profileOf({
    label: "attention of the picked head along the text",
    height: 190,
    get: () => {
      const row = exact();
      if (row) return { starts: range(row.weights.length), values: row.weights, end: row.weights.length, is_exact: true };
      return {
        starts: range(n_chunks()).map(chunk => chunk * chunk_len),
        values: mass(picked()),
        end: now().query + 1,
        marks: chosen(picked()),
      };
    },
    hover: at =>
      exact()
        ? [
            make("b", {}, `${nameOf(picked())} · key ${at}`),
            `attention ${percent(exact().weights[at])} from token ${now().query}`,
            `${now().query - at} tokens back${inNeedle(at) ? ", in the needle" : ""}`,
            wordLine(at),
          ]
        : chunkLines(picked(), at),
    click: at => {
      state.key = exact() ? at : at * chunk_len;
      redraw();
    },
  });
  const profile_title = make("h2");
  const query_words = wordsBox("around the query"),
    key_words = wordsBox("chunk");
  const picker_of_head = row => {
    if (row.layer !== null && row.head !== undefined && row.head !== null) pick(row.layer, row.head);
    if (row.first_token !== undefined) state.key = row.first_token;
    redraw();
  };

  const main = make(
    "section",
    { class: "box" },
    make("h2", {}, "heads by chunks"),
    make("div", { class: "legend" }, legend.box, markLegend()),
    make("div", { class: "scroll" }, matrix.canvas),
  );
  const side = make(
    "section",
    { class: "box" },
    make("h2", {}, `layers by heads: ${data.number.name}`),
    grid.legend,
    make("div", { class: "scroll" }, grid.canvas),
  );
  const along = make("section", { class: "box" }, profile_title, profile.canvas);
  const chunks_first = data.first === "chunks";
  return {
    controls: [
      controls.layer.box,
      controls.head.box,
      controls.query.box,
      controls.rows.box,
      log.box,
      queries.some(one => one.chosen) ? choice.box : null,
    ],
    parts: [
      make(
        "div",
        { class: "columns" },
        make("div", {}, chunks_first ? main : side, along),
        make("div", {}, chunks_first ? side : main, query_words.box, key_words.box),
      ),
    ],
    pick: picker_of_head,
    draw: () => {
      for (const name of ["layer", "head", "query", "rows"]) controls[name].set(state[name]);
      log.draw();
      choice.draw();
      const row = exact(),
        chunk = Math.min(Math.floor((state.key ?? (data.needle ? data.needle[0] : 0)) / chunk_len), n_chunks() - 1);
      profile_title.textContent = `${nameOf(picked())} from token ${now().query}: ${row ? "attention on every token" : `attention by chunk of ${chunk_len} tokens`}${data.number.name ? ` · ${data.number.name}: ${withUnit(now().number[picked()], data.number.unit)}` : ""}`;
      [matrix, grid, profile].forEach(part => part.paint());
      const weight = row ? token => row.weights[token] : null;
      query_words.words.top = key_words.words.top = row ? row.weights.reduce((most, share) => Math.max(most, share), 0) : 1;
      fillWords(query_words.words, now().query - 40, now().query + 12, { query: now().query, weight });
      key_words.heading.textContent = `chunk ${chunk}, tokens ${chunk * chunk_len}–${Math.min((chunk + 1) * chunk_len, data.n_tokens) - 1} · attention ${percent(mass(picked())[chunk])}`;
      fillWords(key_words.words, chunk * chunk_len, Math.min((chunk + 1) * chunk_len, chunk * chunk_len + 400), {
        query: now().query,
        weight,
        pick: token => {
          state.key = token;
          if (row) profile.around(token, 64);
          redraw();
        },
      });
    },
    keys: {
      ...profile.keys,
      ...headKeys(n_layers, n_heads, pick),
      "[": () => {
        const at = queries.indexOf(now());
        state.query = queries[Math.max(0, at - 1)].query;
        live.textContent = `query ${state.query}`;
        redraw();
      },
      "]": () => {
        const at = queries.indexOf(now());
        state.query = queries[Math.min(queries.length - 1, at + 1)].query;
        live.textContent = `query ${state.query}`;
        redraw();
      },
    },
  };
};
// an address may name what there is not
const inRange = (n_layers, n_heads) => {
  state.layer = clamp(Math.round(state.layer), 0, n_layers - 1);
  state.head = clamp(Math.round(state.head), 0, n_heads - 1);
  const n = data.n_tokens,
    span = clamp(state.pto - state.pfrom, Math.min(16, n), n);
  state.pfrom = clamp(state.pfrom, 0, n - span);
  state.pto = state.pfrom + span;
  if (state.key !== null) state.key = clamp(Math.round(state.key), 0, n - 1);
};
const headKeys = (n_layers, n_heads, pick) => ({
  "<": () => pick(state.layer, Math.max(0, state.head - 1)),
  ">": () => pick(state.layer, Math.min(n_heads - 1, state.head + 1)),
  "(": () => pick(Math.max(0, state.layer - 1), state.head),
  ")": () => pick(Math.min(n_layers - 1, state.layer + 1), state.head),
  l: () => {
    state.log = state.log ? 0 : 1;
    redraw();
  },
});
