// ---- report: tables of scores ----

const COUNTS = [
  ["n_skipped", "passed over as too long"],
  ["n_truncated", "truncated"],
  ["n_empty", "empty answers"],
  ["n_at_limit", "ended at the most tokens"],
  ["n_errors", "on which the script fails"],
];

const cellTitle = (table, cell) =>
  [
    `${scoreText(table, cell.score)}${isLoss(table) ? "" : " %"}${cell.interval[0] === null ? "" : `, 95 % interval ${intervalText(table, cell.interval)}`}`,
    counted(cell.n, "sample"),
    cell.n_tasks > 1 ? `mean of ${cell.n_tasks} tasks` : "",
    ...COUNTS.filter(([name]) => cell[name]).map(([name, what]) => `${cell[name]} ${what}`),
    cell.n_scored ? counted(cell.n_scored, "token") + " scored" : "",
    `prompts of ${Math.round(cell.mean_prompt)} tokens`,
    "opens its samples",
  ]
    .filter(Boolean)
    .join(" · ");

const differenceBox = (table, difference, name) => {
  if (!difference) return null;
  const digits = isLoss(table) ? 3 : 1,
    [low, high] = difference.interval;
  const title =
    `${signed(difference.difference, digits)} against ${name} on ${counted(difference.n, "sample")} that both have, ` +
    `${low === null ? "without an interval, since a task has one sample" : `95 % interval ${signed(low, digits)} to ${signed(high, digits)}`}; better on ${difference.n_better}, worse on ${difference.n_worse}` +
    (difference.is_sure ? "" : "; chance may be the reason");
  const text = `${signed(difference.difference, isLoss(table) ? 2 : 1)}${difference.is_sure ? " *" : ""}`;
  return make(
    "span",
    { class: difference.is_sure ? "difference sure" : "difference", title, "data-low": low, "data-high": high },
    text,
    low === null ? null : make("span", { class: "interval" }, ` ${signed(low, isLoss(table) ? 2 : 0)} to ${signed(high, isLoss(table) ? 2 : 0)}`),
  );
};

// a score with its interval, and under it the difference to the reference
const cellBox = (list, at, subject, column) => {
  const table = tablesOf(list)[at],
    scores = scoresOf(table),
    cell = scores.cells[subject][column];
  if (!cell) return make("td", { class: "none" }, "–");
  const other = reference();
  const pick = () => {
    change({
      task: `${list === "families" ? "f" : "t"}${at}`,
      subject: String(subject),
      column: columnText(table.columns[column]),
      only: "",
      q: "",
      at: "",
      open: "",
    });
    jump("samples");
  };
  const few = cell.n_tasks < table.tasks.length;
  return make(
    "td",
    { "data-score": cell.score, "data-low": cell.interval[0], "data-high": cell.interval[1], "data-n": cell.n },
    make("button", { class: "score", title: cellTitle(table, cell), onclick: pick }, scoreText(table, cell.score)),
    // one loss or share of an answer has no interval
    make("span", { class: "interval" }, cell.n === 1 && cell.interval[0] === null ? ` one ${isLoss(table) ? "text" : "sample"}` : ` ${intervalText(table, cell.interval)}`),
    few ? make("span", { class: "difference" }, `${cell.n_tasks} of ${counted(table.tasks.length, "task")}`) : null,
    other >= 0 && other !== subject ? differenceBox(table, differenceOf(scores, subject, other, column), subjects[other].name) : null,
  );
};

const present = table => range(subjects.length).filter(subject => table.scores.run.cells[subject].some(Boolean));
const nameBox = subject => make("th", { class: "text", scope: "row", title: visible(subjects[subject].method) }, ...named(subjects[subject].name));
const scored = table => {
  const unit = isLoss(table) ? "perplexity: lower is better" : table.scorer ? `${table.scorer}, % of a perfect answer` : "% of perfect answers";
  const mode = table.scores[state.mode] ? state.mode : table.mode;
  return table.scorer === "perplexity" && table.task !== "perplexity_sliding" ? unit : `${unit}, ${mode}`;
};
// counts that a reader should know of, summed over the table
const noted = (table, cells) => {
  const all = cells.filter(Boolean),
    sum = name => all.reduce((sum, cell) => sum + cell[name], 0),
    ns = all.map(cell => cell.n),
    [least, most] = [Math.min(...ns), Math.max(...ns)];
  const samples = least === most ? `${counted(most, "sample")} a cell` : `${least} to ${most} samples a cell`;
  return [samples, ...COUNTS.filter(([name]) => sum(name)).map(([name, what]) => `${sum(name)} ${what}`)].join(", ");
};
const countsBox = (list, all) => {
  const details = make("details", { class: "counts" }, make("summary", {}, "Samples behind these numbers"));
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    const columns = ["task", "method", "length", "samples", "skipped", "truncated", "empty", "at limit", "exceptions", "prompt tokens", "seconds"];
    const rows = all.flatMap(at => {
      const table = tablesOf(list)[at];
      return present(table).flatMap(subject =>
        scoresOf(table).cells[subject].flatMap((cell, column) =>
          cell
            ? [
                [
                  table.name,
                  subjects[subject].name,
                  columnText(table.columns[column]),
                  cell.n,
                  cell.n_skipped,
                  cell.n_truncated,
                  cell.n_empty,
                  cell.n_at_limit,
                  cell.n_errors,
                  Math.round(cell.mean_prompt),
                  Number(cell.seconds.toPrecision(4)),
                ],
              ]
            : [],
        ),
      );
    });
    details.replaceChildren(
      details.firstChild,
      tableBox({ columns: columns.map(name => ({ name, unit: "" })), rows, n_rows: rows.length }),
    );
  });
  return details;
};

const protocolBox = (list, at) => {
  const said = list === "tasks" ? data.beside.protocol[at] : [];
  return said.length
    ? make("details", { class: "counts" }, make("summary", {}, "Otherwise than the task by itself"), make("ul", {}, ...said.map(one => make("li", {}, visible(one)))))
    : null;
};

// one task or mean: a line for each method, a column for each length
const byLength = (list, at) => {
  const table = tablesOf(list)[at],
    own = present(table);
  return make(
    "article",
    { class: "box", "data-list": list, "data-table": at },
    make("h4", {}, ...named(table.name)),
    make(
      "p",
      { class: "note" },
      `${scored(table)} · ${noted(table, scoresOf(table).cells.flat())}${table.tasks.length ? ` · ${table.tasks.length} of ${table.n_of} tasks: ${table.tasks.join(", ")}` : ""}`,
    ),
    make(
      "div",
      { class: "wide" },
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, make("th", { class: "text", scope: "col" }, "method"), ...table.columns.map(column => make("th", { scope: "col" }, columnText(column))))),
        make("tbody", {}, ...own.map(subject => make("tr", { "data-subject": subject }, nameBox(subject), ...range(table.columns.length).map(column => cellBox(list, at, subject, column))))),
      ),
    ),
    countsBox(list, [at]),
    protocolBox(list, at),
  );
};

// tasks without lengths stand in one table: a line for each task, a column for each method
const byTask = (list, all) => {
  const own = range(subjects.length).filter(subject => all.some(at => tablesOf(list)[at].scores.run.cells[subject].some(Boolean)));
  const cells = all.flatMap(at => scoresOf(tablesOf(list)[at]).cells.flat());
  // settings are told where a task was run with several
  const isOnly = table => list === "tasks" && all.filter(at => tablesOf(list)[at].task === table.task).length === 1;
  const [{ length }] = tablesOf(list)[all[0]].columns;
  const scorers = [...new Set(all.map(at => tablesOf(list)[at].scorer).filter(Boolean))];
  const what = [`% of a perfect answer${length === null ? "" : ` at ${lengthText(length)} tokens`}`, ...scorers.slice(0, 1).map(() => scorers.join(", "))];
  return make(
    "article",
    { class: "box" },
    make("p", { class: "note" }, `${what.join(" · ")} · ${noted(tablesOf(list)[all[0]], cells)}`),
    make(
      "div",
      { class: "wide" },
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, make("th", { class: "text", scope: "col" }, list === "tasks" ? "task" : "mean"), ...own.map(subject => make("th", { class: "name", scope: "col" }, ...named(subjects[subject].name))))),
        make(
          "tbody",
          {},
          ...all.map(at => {
            const table = tablesOf(list)[at];
            return make(
              "tr",
              { "data-list": list, "data-table": at },
              make("th", { class: "text", scope: "row", title: `${visible(table.name)}: ${scored(table)}` }, ...named(list === "families" ? table.name.slice(table.family.length + 2) : isOnly(table) ? table.task : table.name)),
              ...own.map(subject => {
                const box = cellBox(list, at, subject, 0);
                box.setAttribute("data-subject", subject);
                return box;
              }),
            );
          }),
        ),
      ),
    ),
    countsBox(list, all),
  );
};

const scoresPart = () => {
  const box = make("div", {});
  parts.push(() => {
    const names = [...new Set(tasks.map(table => table.family))];
    box.replaceChildren(
      ...names.flatMap(name => {
        const of = list => range(tablesOf(list).length).filter(at => tablesOf(list)[at].family === name);
        const boxes = list => {
          // a table of one number a method says little by itself
          const isAlone = at => tablesOf(list)[at].columns.length === 1 && !isLoss(tablesOf(list)[at]);
          const alone = of(list).filter(isAlone);
          const together = alone.length > 1 && new Set(alone.map(at => columnText(tablesOf(list)[at].columns[0]))).size === 1 ? alone : [];
          return [
            ...(together.length ? [byTask(list, together)] : []),
            ...of(list)
              .filter(at => !together.includes(at))
              .map(at => byLength(list, at)),
          ];
        };
        return [make("h3", {}, visible(name || "tasks of no list")), make("div", { class: "boxes" }, ...boxes("families"), ...boxes("tasks"))];
      }),
    );
  });
  return part(
    "Scores",
    "scores",
    make(
      "p",
      { class: "note" },
      "Small numbers are 95 % intervals: of hits by Wilson, else by the bootstrap over samples; of means from those of their tasks. Under a score stands its difference to the method that is picked above, on the samples that both have, with the interval of the bootstrap over pairs. ",
      make("b", {}, "Bold with a star"),
      " where the interval lies on one side of 0 and at least six samples differ; of fewer chance is never out of the question. A score opens its samples.",
    ),
    box,
  );
};
