// ---- what all views share ----

const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const tip = make("div", { id: "tip", role: "status", hidden: "" });
const live = make("div", { class: "quiet", "aria-live": "polite", id: "said" });
// what is picked; it is what the address says after its `#`
const state = { log: 1, max: 0 };
let drawing = false,
  view = null;

const redraw = () => {
  if (drawing || !view) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    view.draw();
    remember();
  });
};
const remember = () => {
  const pairs = Object.entries(state).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const hash =
    "#" +
    pairs
      .map(([name, value]) => `${name}=${encodeURIComponent(typeof value === "number" ? Number(value.toFixed(2)) : value)}`)
      .join("&");
  // frames without an origin have no address to change
  try {
    history.replaceState(null, "", hash);
  } catch {
    /* nothing to remember it in */
  }
};
const recall = () => {
  for (const pair of location.hash.slice(1).split("&")) {
    const [name, text] = pair.split("=");
    if (!text || !Object.hasOwn(state, name)) continue;
    // what is no number, where one is meant, was typed by somebody
    if (typeof state[name] === "string") {
      try {
        state[name] = decodeURIComponent(text);
      } catch {
        /* no text that was written here */
      }
    }
    else if (Number.isFinite(Number(text))) state[name] = Number(text);
  }
};

const hideTip = () => {
  tip.hidden = true;
};
const showTip = (event, lines) => {
  tip.replaceChildren(...lines.filter(Boolean).map(line => (typeof line === "string" ? make("p", {}, line) : line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
  const y = event.clientY + 14 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 14;
  tip.style.left = `${Math.max(2, x)}px`;
  tip.style.top = `${Math.max(2, y)}px`;
};

// the text of tokens
const pieceOf = token => (data.texts && token < data.texts.length ? data.texts[token] : null);
const wordOf = token => {
  const piece = pieceOf(token);
  return piece === null ? "" : piece === "" ? "∅" : visible(piece);
};
const textOf = (from, to) =>
  range(Math.max(0, to - from))
    .map(at => wordOf(from + at))
    .join("");
// a token among its neighbours, as a line of the tooltip
const wordLine = (token, reach = 5) =>
  pieceOf(token) === null
    ? null
    : make(
        "p",
        { class: "word" },
        `…${textOf(Math.max(0, token - reach), token)}`,
        make("b", {}, wordOf(token)),
        `${textOf(token + 1, token + 1 + reach)}…`,
      );
const spanLine = (from, to) =>
  pieceOf(from) === null
    ? null
    : make("p", { class: "word" }, to - from <= 24 ? textOf(from, to) : `${textOf(from, from + 11)} … ${textOf(to - 11, to)}`);
const inNeedle = token => data.needle && token >= data.needle[0] && token < data.needle[1];

// tokens as words, with what is picked outlined; `weight` colours them
const fillWords = (box, from, to, { query, key, weight, pick }) => {
  from = Math.max(0, from);
  const spans = range(Math.max(0, Math.min(to, data.n_tokens ?? to) - from))
    .filter(at => pieceOf(from + at) !== null)
    .map(at => {
      const token = from + at,
        piece = pieceOf(token);
      const kinds = [inNeedle(token) && "needle", token === query && "query", token === key && "key", piece === "" && "empty"];
      const share = weight ? weight(token) : null;
      const span = make(
        "span",
        {
          class: kinds.filter(Boolean).join(" ") || null,
          "data-token": token,
          title: `token ${token}${piece === "" ? ": no text of its own" : ""}${share === null || share === undefined ? "" : ` · ${percent(share)}`}`,
        },
        wordOf(token),
      );
      if (share > 0) {
        // roots tell words apart that powers of ten make alike
        const color = ramp(Math.sqrt(share / (box.top || 1)));
        span.style.background = rgb(color);
        span.style.color = inkOn(rgb(color));
      }
      if (pick) span.addEventListener("click", () => pick(token));
      // what ended a line ends one here
      return piece.includes("\n") ? [span, "\n"] : [span];
    });
  box.replaceChildren(...(spans.length ? spans.flat() : [data.texts ? "no text is stored here" : "the text is not stored"]));
};
const wordsBox = title => {
  const words = make("div", { class: "words", lang: "" });
  const heading = make("h2", {}, title);
  return { words, heading, box: make("section", { class: "box" }, heading, words) };
};

// a canvas as wide as its place, drawn in real pixels; `describe` says to those who do not see it what it shows
const canvasOf = (label, height, draw) => {
  const canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  let width = 0;
  // the first drawing does not wait until the browser tells the size
  const measure = () => {
    width ||= Math.floor(canvas.clientWidth);
    return width > 0;
  };
  const paint = () => {
    const scale = window.devicePixelRatio || 1,
      high = typeof height === "function" ? height(width) : height;
    canvas.style.height = `${high}px`;
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(high * scale))];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, high);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    draw(context, width, high);
  };
  new ResizeObserver(entries => {
    const now = Math.floor(entries[0].contentRect.width);
    if (now !== width && now > 0) {
      width = now;
      redraw();
    }
  }).observe(canvas);
  return {
    canvas,
    context,
    paint: () => {
      if (measure()) paint();
    },
    say: text => canvas.setAttribute("aria-label", text),
  };
};
const placeOf = (event, canvas) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
// dragging, wheel and hovering of a canvas; a press that did not move is a click
const onPointer = (canvas, { hover, leave, drag, click, wheel }) => {
  let from = null,
    moved = false;
  canvas.addEventListener("pointerdown", event => {
    from = placeOf(event, canvas);
    moved = false;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    const at = placeOf(event, canvas);
    if (from && drag && (moved || Math.hypot(at[0] - from[0], at[1] - from[1]) > 3)) {
      moved = true;
      drag(at[0] - from[0], at[1] - from[1]);
      from = at;
      hideTip();
    } else hover(at, event);
  });
  canvas.addEventListener("pointerup", event => {
    if (from && !moved && click) click(placeOf(event, canvas), event);
    from = null;
  });
  canvas.addEventListener("pointercancel", () => {
    from = null;
  });
  canvas.addEventListener("pointerleave", () => {
    hideTip();
    if (leave) leave();
  });
  if (wheel)
    canvas.addEventListener(
      "wheel",
      event => {
        event.preventDefault();
        wheel(placeOf(event, canvas), event.deltaY > 0 ? 1.25 : 0.8);
      },
      { passive: false },
    );
};

const picker = (label, options, value, onchange) => {
  const select = make(
    "select",
    { "aria-label": label, onchange: () => onchange(select.value) },
    ...options.map(([name, text]) => make("option", { value: name }, text)),
  );
  select.value = value;
  return {
    box: make("label", {}, label, select),
    set: to => {
      select.value = to;
    },
  };
};
const numberBox = (label, low, high, onchange) => {
  const input = make("input", {
    type: "number",
    min: low,
    max: high,
    "aria-label": label,
    onchange: () => {
      if (input.value !== "" && Number.isFinite(Number(input.value))) onchange(clamp(Math.round(Number(input.value)), low, high));
    },
  });
  return {
    box: make("label", {}, label, input),
    set: to => {
      if (document.activeElement !== input) input.value = to;
    },
  };
};
const toggle = (label, title, get, set) => {
  const button = make(
    "button",
    {
      title,
      onclick: () => {
        set(!get());
        redraw();
      },
    },
    label,
  );
  return { box: button, draw: () => button.setAttribute("aria-pressed", String(Boolean(get()))) };
};
const scaleLegend = name => {
  const bar = make("canvas", { width: 140, height: 10, "aria-hidden": "true" }),
    low = make("span"),
    high = make("span");
  return {
    box: make("span", {}, `${name}: `, low, " ", bar, " ", high),
    // up to `top`; where the lowest number stands out, it has the strongest colour, and the scale begins with it
    draw: (top, unit, lowest = null) => {
      const context = bar.getContext("2d");
      range(140).forEach(x => {
        context.fillStyle = rgb(ramp(lowest === null ? x / 139 : 1 - x / 139));
        context.fillRect(x, 0, 1, 10);
      });
      const from = lowest === null ? withUnit(0, unit) : rounded(lowest, unit);
      low.textContent = state.log && unit === "share" ? `≤ ${rounded(top / 10 ** DECADES, unit)}` : from;
      high.textContent = rounded(top, unit);
    },
  };
};
const markLegend = () =>
  make(
    "span",
    {},
    data.needle ? make("span", {}, outline("--needle"), `needle (tokens ${data.needle[0]}–${data.needle[1] - 1})  `) : "",
    make("span", {}, outline("--query"), "query"),
    offLegend() ? "  " : "",
    offLegend() || "",
  );
// heads whose output is zeros
const isOff = (layer, head) => (data.off || []).some(([of, at]) => of === layer && at === head);
const headName = (layer, head) => `layer ${layer} head ${head}${isOff(layer, head) ? " (switched off)" : ""}`;
const crossAt = (context, x, y, radius, color) => {
  context.strokeStyle = color;
  context.lineWidth = 1.8;
  context.beginPath();
  for (const turn of [radius, -radius]) {
    context.moveTo(x - radius, y - turn);
    context.lineTo(x + radius, y + turn);
  }
  context.stroke();
};
const offLegend = () =>
  data.off && data.off.length
    ? make("span", { class: "off" }, "× switched off: the head's output is zeros, whatever it attends to")
    : null;
const outline = color => make("span", { class: "mark", style: `border-color: var(${color})` });

// ---- the table ----

const tableBox = (table, pick) => {
  if (!table) return make("p", { class: "note" }, "The table of this view is too long for a page: write it as .csv.");
  const isText = table.columns.map((_, at) => table.rows.some(row => typeof row[at] === "string"));
  const tops = table.columns.map((column, at) =>
    column.unit === "share" ? Math.max(...table.rows.map(row => row[at] || 0)) : 0,
  );
  let sorted = -1,
    down = true,
    shown = 60;
  const body = make("tbody"),
    count = make("p", { class: "note" }),
    more = make(
      "button",
      {
        onclick: () => {
          shown += 500;
          fill();
        },
      },
      "more rows",
    );
  const filter = make("input", {
    type: "search",
    placeholder: "rows with…",
    "aria-label": "rows with these words",
    oninput: () => fill(),
  });
  const heads = table.columns.map((column, at) =>
    make(
      "th",
      { class: isText[at] ? "text" : null, scope: "col" },
      make(
        "button",
        {
          onclick: () => {
            down = sorted === at ? !down : !isText[at];
            sorted = at;
            fill();
          },
        },
        column.unit ? `${column.name} (${column.unit})` : column.name,
      ),
    ),
  );
  const compare = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (down ? -1 : 1));
  const cell = (value, at) => {
    const td = make(
      "td",
      { class: isText[at] ? "text" : tops[at] > 0 ? "share" : null },
      value === null ? "" : typeof value === "number" ? short(value) : visible(String(value)),
    );
    if (typeof value === "number" && !Number.isInteger(value)) td.title = String(value);
    if (tops[at] > 0) td.style.backgroundSize = `${(100 * (value || 0)) / tops[at]}% 3px`;
    return td;
  };
  const fill = () => {
    const words = filter.value.toLowerCase();
    let rows = table.rows.filter(row => !words || row.some(value => String(value).toLowerCase().includes(words)));
    if (sorted >= 0) rows = [...rows].sort((a, b) => compare(a[sorted], b[sorted]));
    heads.forEach((head, at) => head.setAttribute("aria-sort", at !== sorted ? "none" : down ? "descending" : "ascending"));
    body.replaceChildren(
      ...rows.slice(0, shown).map(row => {
        const tr = make("tr", {}, ...row.map(cell));
        if (pick)
          tr.addEventListener("click", () => pick(Object.fromEntries(table.columns.map((column, at) => [column.name, row[at]]))));
        return tr;
      }),
    );
    more.hidden = rows.length <= shown;
    const all = table.n_rows > table.rows.length ? ` (the first of ${table.n_rows}: a .csv file has all)` : "";
    count.textContent = `${Math.min(shown, rows.length)} of ${table.rows.length} rows${all}`;
  };
  fill();
  return make(
    "div",
    {},
    make("div", { class: "controls" }, filter, count, more),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body)),
  );
};
