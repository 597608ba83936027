// ---- report: every sample ----

const stored = data.samples;
// a column is unpacked when it is first asked for
const columns = {};
const column = (kind, name) => (columns[`${kind} ${name}`] ??= stored[kind][name] ? unpack(stored[kind][name]) : []);
const whole = (name, at) => column("whole", name)[at];
const exact = (name, at) => column("exact", name)[at];
const textAt = (name, at) => column("texts", name)[whole(name, at)];
const MODES = ["faithful", "fixed"];

// per cent under the mode that is picked; not a number where there is none
const scoreAt = at => exact(MODES.includes(state.mode) ? state.mode : MODES[whole("mode", at)], at);
const verdictAt = at => {
  if (textAt("outcome", at) === "skipped") return "passed over";
  if (textAt("outcome", at) === "measured") return `${exact("loss", at).toFixed(3)} nats`;
  const score = scoreAt(at);
  return Number.isNaN(score) ? "exception" : score === 100 ? "✓ 100" : score === 0 ? "✗ 0" : score.toFixed(1);
};
const ONLY = {
  hit: ["right (50 % and more)", at => scoreAt(at) >= 50],
  miss: ["wrong (below 50 %)", at => textAt("outcome", at) === "answered" && !(scoreAt(at) >= 50)],
  part: ["partly right", at => scoreAt(at) > 0 && scoreAt(at) < 100],
  modes: ["modes differ", at => exact("faithful", at) !== exact("fixed", at) && !(Number.isNaN(exact("faithful", at)) && Number.isNaN(exact("fixed", at)))],
  error: ["the script fails", at => textAt("outcome", at) === "answered" && Number.isNaN(scoreAt(at))],
  empty: ["empty answers", at => textAt("outcome", at) === "answered" && textAt("output", at).trim() === ""],
  limit: ["ended at the most tokens", at => textAt("stop", at) === "max_tokens"],
  cut: ["truncated", at => whole("n_truncated", at) > 0],
  skipped: ["passed over", at => textAt("outcome", at) === "skipped"],
};
const SORTS = {
  task: ["task", at => whole("table", at)],
  subject: ["method", at => whole("subject", at)],
  column: ["length", at => tasks[whole("table", at)].columns[whole("column", at)].length ?? 0],
  depth: ["depth", at => exact("depth", at)],
  id: ["sample", at => textAt("id", at)],
  score: ["score", at => (textAt("outcome", at) === "measured" ? -exact("loss", at) : scoreAt(at))],
  tokens: ["tokens", at => whole("n_prompt", at)],
  seconds: ["seconds", at => exact("seconds", at)],
};
const PAGE = 50;

// which rows hold the words: each distinct text is looked at once
const withWords = text => {
  const wanted = text.toLowerCase();
  const found = ["output", "answers", "id", "setting", "prompt"].map(name => [name, column("texts", name).map(one => one.toLowerCase().includes(wanted))]);
  return at => found.some(([name, holds]) => holds[whole(name, at)]);
};
const filtered = () => {
  const tests = [];
  if (state.task) {
    const number = Number(state.task.slice(1));
    // a mean is of tasks that were run alike
    const names = state.task[0] === "f" && families[number] ? families[number] : null;
    tests.push(names ? at => names.tasks.includes(tasks[whole("table", at)].task) && tasks[whole("table", at)].mode === names.mode : at => whole("table", at) === number);
  }
  if (state.subject) tests.push(at => whole("subject", at) === Number(state.subject));
  if (state.column) {
    // a length holds the samples of all its parts
    const isOf = of => columnText(of) === state.column || columnText({ ...of, part: null }) === state.column;
    const found = tasks.map(table => table.columns.map(isOf));
    tests.push(at => found[whole("table", at)][whole("column", at)]);
  }
  if (ONLY[state.only]) tests.push(ONLY[state.only][1]);
  if (state.q) tests.push(withWords(state.q));
  const rows = range(stored.n).filter(at => tests.every(test => test(at)));
  const [name, way] = state.sort.split(" ");
  if (SORTS[name]) {
    const of = SORTS[name][1],
      keys = new Map(rows.map(at => [at, of(at)])),
      sign = way === "down" ? -1 : 1;
    const isMissing = value => typeof value === "number" && Number.isNaN(value);
    rows.sort((a, b) => {
      const [one, other] = [keys.get(a), keys.get(b)];
      if (isMissing(one) || isMissing(other)) return isMissing(one) - isMissing(other);
      const order = typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
      return sign * order || a - b;
    });
  }
  return rows;
};

// an answer with what was scored of it, and the right answers in it
const marked = (text, extracted, answers) => {
  const spans = [];
  const put = (at, size, kind) => at >= 0 && size > 0 && spans.push([at, at + size, kind]);
  if (extracted !== null) put(text.indexOf(extracted), extracted.length, "extracted");
  const low = text.toLowerCase();
  for (const answer of low.length === text.length ? answers : []) {
    const wanted = answer.toLowerCase();
    for (let at = low.indexOf(wanted), n = 0; wanted && at >= 0 && n < 100; at = low.indexOf(wanted, at + wanted.length), n++) put(at, wanted.length, "right");
  }
  const cuts = [...new Set([0, text.length, ...spans.flatMap(([from, to]) => [from, to])])].sort((a, b) => a - b);
  return cuts.slice(0, -1).map((from, at) => {
    const kinds = spans.filter(span => span[0] <= from && cuts[at + 1] <= span[1]).map(span => span[2]);
    const piece = lines(text.slice(from, cuts[at + 1]));
    return kinds.length ? make("mark", { class: [...new Set(kinds)].join(" ") }, piece) : piece;
  });
};

const facts = pairs =>
  make(
    "dl",
    {},
    ...pairs.filter(([, value]) => value !== null && value !== "" && value !== undefined).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );

// where the passages of a sample begin among all
let starts = null;
const passagesAt = at => {
  if (!starts) {
    let sum = 0;
    starts = Array.from(column("whole", "n_passages"), n => (sum += n) - n);
  }
  return range(whole("n_passages", at)).map(of => {
    const place = starts[at] + of;
    return {
      text: column("texts", "passage")[whole("passage", place)],
      from: whole("passage_start", place),
      to: whole("passage_end", place),
      mass: exact("passage_mass", place),
    };
  });
};
const attendedBox = at => {
  const passages = passagesAt(at);
  if (!passages.length) return null;
  const evidence = JSON.parse(textAt("evidence", at) || "[]");
  const top = exact("top_share", at);
  return make(
    "div",
    { class: "passages" },
    make("h5", {}, "What the token before the answer attended to"),
    evidence.length
      ? make(
          "p",
          { class: "note" },
          `Tokens ${evidence.map(([from, to]) => `${from}–${to - 1}`).join(", ")} hold the answer${Number.isNaN(top) ? "" : `; layer ${whole("top_layer", at)} head ${whole("top_head", at)} gives them most, ${percent(top)}`}.`,
        )
      : null,
    make(
      "ol",
      {},
      ...passages.map(({ text, from, to, mass }) => {
        const holds = evidence.some(([start, end]) => start < to && from < end);
        const item = make(
          "li",
          { class: holds ? "evidence" : null, "data-mass": mass },
          make("b", {}, percent(mass)),
          make("span", { class: "note" }, ` tokens ${from}–${to - 1}${holds ? ", holds the answer" : ""}`),
          make("p", {}, lines(text)),
        );
        item.style.setProperty("--share", `${Math.min(100, 100 * mass)}%`);
        return item;
      }),
    ),
  );
};

const per = value => (Number.isNaN(value) ? "exception" : `${short(Number(value.toFixed(2)))} %`);
const answerBox = (at, isPicked, prompt) => {
  const kind = textAt("outcome", at),
    answers = JSON.parse(textAt("answers", at)),
    output = textAt("output", at),
    extracted = whole("has_extracted", at) ? textAt("extracted", at) : null,
    values = MODES.map(mode => textAt(`${mode}_value`, at));
  const isCounted = mode => (MODES.includes(state.mode) ? state.mode : MODES[whole("mode", at)]) === mode;
  return make(
    "section",
    { class: isPicked ? "answer picked" : "answer", "data-key": textAt("key", at) },
    make("h4", {}, visible(subjects[whole("subject", at)].name)),
    kind === "answered"
      ? make(
          "p",
          {},
          ...MODES.flatMap((mode, of) => [of ? " · " : "", make(isCounted(mode) ? "b" : "span", { "data-mode": mode }, `${mode} ${per(exact(mode, at))}`)]),
        )
      : make("p", {}, kind === "measured" ? `${exact("loss", at).toFixed(4)} nats a token over ${counted(whole("n_scored", at), "token")}` : "passed over: longer than the limit"),
    kind === "answered"
      ? make("pre", { class: output.trim() ? "output" : "output empty", tabindex: "0" }, ...(output.trim() ? marked(output, extracted, answers) : ["(an empty answer)"]))
      : null,
    extracted !== null && !output.includes(extracted) ? make("p", { class: "note" }, "scored of it: ", make("mark", { class: "extracted" }, lines(extracted))) : null,
    facts([
      ["ended", textAt("stop", at) === "" ? "" : `${textAt("stop", at).replace(/_/g, " ")} after ${counted(whole("n_generated", at), "token")}`],
      ["prompt", `${counted(whole("n_prompt", at), "token")}${whole("n_shared", at) ? `, ${whole("n_shared", at)} shared` : ""}${whole("n_truncated", at) ? `, ${whole("n_truncated", at)} left out` : ""}`],
      ["seconds", kind === "answered" ? `${short(exact("seconds", at))}, the first token after ${short(exact("first_token", at))}` : short(exact("seconds", at))],
      ["computed by", visible(textAt("kernel_path", at))],
      ...MODES.map((mode, of) => [mode, visible(values[of])]),
      ["prompt SHA-256", textAt("prompt", at) === prompt ? "" : textAt("prompt", at)],
    ]),
    attendedBox(at),
  );
};

// the same question under every method
let alike = null;
const sameAs = at => {
  const name = at => `${whole("table", at)} ${whole("column", at)} ${whole("id", at)}`;
  if (!alike) {
    alike = new Map();
    for (const one of range(stored.n)) alike.set(name(one), [...(alike.get(name(one)) || []), one]);
  }
  return alike.get(name(at)).filter(other => other !== at);
};
const detailBox = at => {
  const table = tasks[whole("table", at)],
    depth = exact("depth", at),
    answers = JSON.parse(textAt("answers", at)),
    prompt = textAt("prompt", at);
  return make(
    "div",
    { class: "detail" },
    facts([
      ["task", visible(textAt("setting", at))],
      ["sample", visible(textAt("id", at))],
      ["place", [columnText(table.columns[whole("column", at)]), Number.isNaN(depth) ? null : `${short(100 * depth)} % deep`].filter(Boolean).join(", ")],
      ["prompt SHA-256", prompt],
      ["template", textAt("template", at)],
      ["scorer", textAt("scorer", at)],
      ["finished", dateText(exact("finished", at))],
      ["right", answers.length ? make("ul", { class: "right" }, ...answers.map(answer => make("li", {}, lines(answer)))) : ""],
    ]),
    textAt("outcome", at) === "answered" ? make("p", { class: "note" }, make("mark", { class: "extracted" }, "scored"), " where that is a part of the answer, ", make("mark", { class: "right" }, "a right answer"), " where it stands in it.") : null,
    make("div", { class: "answers" }, ...[at, ...sameAs(at)].map((one, of) => answerBox(one, of === 0, prompt))),
  );
};

// opens a sample or closes it; whoever goes by keys stays on its row
const toggleSample = key => {
  change({ open: state.open === key ? "" : key });
  const button = document.querySelector(`tr[data-key="${CSS.escape(key)}"] button`);
  if (button) button.focus({ preventScroll: true });
};

const samplesPart = () => {
  const lengths = [...new Map(tasks.flatMap(table => table.columns).map(of => [columnText(of), of])).values()].sort((a, b) => (a.length ?? 0) - (b.length ?? 0));
  const all = [["", "all"]];
  const pick = name => value => change({ [name]: value, at: "", open: "" });
  const pickers = {
    task: picker("task", [...all, ...families.map((table, at) => [`f${at}`, table.name]), ...tasks.map((table, at) => [`t${at}`, table.name])], "", pick("task")),
    subject: picker("method", [...all, ...subjects.map((subject, at) => [String(at), subject.name])], "", pick("subject")),
    column: picker("length", [...all, ...lengths.map(of => [columnText(of), columnText(of)])], "", pick("column")),
    only: picker("only", [...all, ...Object.entries(ONLY).map(([name, [text]]) => [name, text])], "", pick("only")),
  };
  const search = make("input", { type: "search", id: "search", placeholder: "words in answers, names, hashes ( / )", "aria-label": "words in answers, names and hashes" });
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => pick("q")(search.value), 120);
  });
  const head = make("tr", {}),
    body = make("tbody"),
    count = make("span", { class: "note", "aria-live": "polite", id: "count" });
  const step = by => () => change({ at: String(Math.max(0, Number(state.at) + by)), open: "" });
  const back = make("button", { onclick: step(-PAGE) }, "‹ before"),
    on = make("button", { onclick: step(PAGE) }, "after ›");
  const heads = Object.entries(SORTS).map(([name, [text]]) => {
    const isNumber = ["score", "tokens", "seconds", "depth"].includes(name);
    const turn = () => {
      const first = isNumber ? "down" : "up",
        second = isNumber ? "up" : "down";
      change({ sort: state.sort === `${name} ${first}` ? `${name} ${second}` : state.sort === `${name} ${second}` ? "" : `${name} ${first}`, at: "" });
    };
    return [name, make("th", { class: `${isNumber ? "" : "text "}of-${name}`, scope: "col" }, make("button", { onclick: turn }, text))];
  });
  head.append(...heads.map(([, th]) => th), make("th", { class: "text of-output", scope: "col" }, "answer"));
  let rows = [],
    known = "";
  const rowOf = at => {
    const key = textAt("key", at),
      isOpen = state.open === key,
      table = tasks[whole("table", at)],
      depth = exact("depth", at);
    const cells = [
      ["task", make("button", { class: "open", "aria-expanded": String(isOpen), title: visible(textAt("setting", at)) }, `${isOpen ? "▾" : "▸"} ${visible(table.task)}`)],
      ["subject", visible(subjects[whole("subject", at)].name)],
      ["column", columnText(table.columns[whole("column", at)])],
      ["depth", Number.isNaN(depth) ? "" : `${short(Number((100 * depth).toFixed(1)))} %`],
      ["id", visible(textAt("id", at))],
      ["score", verdictAt(at)],
      ["tokens", String(whole("n_prompt", at))],
      ["seconds", short(Number(exact("seconds", at).toPrecision(3)))],
      ["output", visible(textAt("output", at).trim().slice(0, 90))],
    ];
    const isNumber = name => ["score", "tokens", "seconds", "depth"].includes(name);
    const row = make(
      "tr",
      { "data-key": key, "data-at": at, class: isOpen ? "sample picked" : "sample" },
      ...cells.map(([name, value]) => make("td", { class: `${isNumber(name) ? "" : "text "}of-${name}` }, value)),
    );
    row.addEventListener("click", () => toggleSample(key));
    return isOpen ? [row, make("tr", { class: "opened" }, make("td", { class: "text", colspan: cells.length }, detailBox(at)))] : [row];
  };
  parts.push(() => {
    for (const [name, one] of Object.entries(pickers)) one.set(state[name]);
    if (document.activeElement !== search) search.value = state.q;
    const wanted = JSON.stringify([state.task, state.subject, state.column, state.only, state.q, state.sort, state.mode]);
    if (wanted !== known) {
      rows = filtered();
      known = wanted;
    }
    // a sample that the address names is on the page
    const place = state.open ? rows.findIndex(at => textAt("key", at) === state.open) : -1;
    if (place >= 0 && (place < Number(state.at) || place >= Number(state.at) + PAGE)) state.at = String(place - (place % PAGE));
    const from = Math.min(Number(state.at) || 0, Math.max(0, rows.length - 1));
    heads.forEach(([name, th]) => {
      const [of, way] = state.sort.split(" ");
      th.setAttribute("aria-sort", of !== name ? "none" : way === "down" ? "descending" : "ascending");
    });
    body.replaceChildren(...rows.slice(from, from + PAGE).flatMap(rowOf));
    back.disabled = from === 0;
    on.disabled = from + PAGE >= rows.length;
    count.textContent = rows.length ? `${from + 1}–${Math.min(from + PAGE, rows.length)} of ${counted(rows.length, "sample")}` : "no sample is like that";
  });
  const clear = make("button", { onclick: () => change({ task: "", subject: "", column: "", only: "", q: "", at: "", open: "" }) }, "all samples");
  return part(
    "Samples",
    "samples",
    make("div", { class: "controls" }, ...Object.values(pickers).map(one => one.box), search, clear),
    make("div", { class: "controls" }, back, on, count),
    make("div", { class: "wide" }, make("table", { class: "list" }, make("thead", {}, head), body)),
    make("details", {}, make("summary", {}, "What is stored of them"), make("ul", {}, ...stored.stored.map(one => make("li", {}, one)))),
  );
};
