// The table of runs: sort, filter, group, and choose which runs are drawn.

const MOST_ROWS = 1000;
const view = {sort: null, down: false, filter: "", group: "", all: false, unchecked: new Set()};

const sortKey = (cell) => (Array.isArray(cell) ? cell[1] : cell);
const short = (value) => (Number.isInteger(value) && Math.abs(value) < 1e9 ? String(value) : String(Number(value.toPrecision(5))));
const exact = (cell) => (Array.isArray(cell) ? cell[0] : String(cell));

function duration(seconds) {
  if (seconds < 60) return `${short(Number(seconds.toPrecision(3)))} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours} h ${String(minutes).padStart(2, "0")} min` : `${minutes} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
}

const moments = new Intl.DateTimeFormat([], {dateStyle: "medium", timeStyle: "short"});
const moment = (seconds) => moments.format(new Date(seconds * 1000));

/** A cell as people read it. */
function textOf(cell, {kind}) {
  if (cell === null) return "";
  if (Array.isArray(cell)) return cell[0];
  if (kind === "duration") return duration(cell);
  if (kind === "moment") return moment(cell);
  return typeof cell === "number" ? short(cell) : cell;
}

/** The best number of a column, unless all are the same. */
function bestOf(number, {goal}) {
  const found = new Set(DATA.table.rows.map((row) => sortKey(row[number])).filter((value) => typeof value === "number"));
  if (!goal || found.size < 2) return null;
  return [...found].reduce((a, b) => (goal === "min" ? Math.min(a, b) : Math.max(a, b)));
}

const BEST = DATA.table.columns.map((column, number) => bestOf(number, column));

const rowText = DATA.table.rows.map((row, run) => {
  const {name, status, reason, tags, path} = DATA.runs[run];
  const cells = row.map((cell, number) => textOf(cell, DATA.table.columns[number]));
  return [name, status, reason, ...tags, path, ...cells].join("\n").toLowerCase();
});

const passes = (run) => view.filter.toLowerCase().split(/\s+/).every((word) => rowText[run].includes(word));

/** Numbers first, then text, then what is missing. */
function compare(a, b) {
  const rank = (value) => (typeof value === "number" ? 0 : value === null ? 2 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
  return rank(a) < 2 && view.down ? -order : order;
}

function sortedRuns() {
  const runs = [...DATA.runs.keys()].filter(passes);
  if (view.sort === null) return runs;
  const keys = {name: (run) => DATA.runs[run].name, status: (run) => DATA.runs[run].status};
  const key = keys[view.sort] ?? ((run) => sortKey(DATA.table.rows[run][view.sort]));
  return runs.sort((a, b) => compare(key(a), key(b)) || a - b);
}

function header() {
  const heads = [["name", "run", ""], ["status", "status", ""]];
  DATA.table.columns.forEach(({title, block, goal}, number) => heads.push([number, title, block, goal]));
  return make("thead", {}, make("tr", {}, ...heads.map(([sort, title, block, goal]) => {
    const arrow = {min: " ↓", max: " ↑"}[goal] ?? "";
    const kind = ["best", "last"].includes(block) ? make("span", {className: "soft"}, `${block} `) : "";
    const mark = view.sort === sort ? (view.down ? " ▼" : " ▲") : "";
    const button = make("button", {type: "button", onclick: () => sortBy(sort)}, kind, title, arrow, mark);
    const order = view.sort === sort ? (view.down ? "descending" : "ascending") : "none";
    return make("th", {scope: "col", "aria-sort": order}, button);
  })));
}

function sortBy(sort) {
  const goal = DATA.table.columns[sort]?.goal;
  view.down = view.sort === sort ? !view.down : goal === "max";
  view.sort = sort;
  renderTable();
  byId("table").querySelector("[aria-sort=ascending] button, [aria-sort=descending] button").focus();
}

function rowOf(run) {
  const {name, status, reason, path, damage, tags} = DATA.runs[run];
  const box = make("input", {type: "checkbox", checked: !view.unchecked.has(run), "aria-label": `draw ${name}`});
  box.addEventListener("change", () => {
    view.unchecked[box.checked ? "delete" : "add"](run);
    showDraw("own");
    updateDrawn();
  });
  const title = [path, ...tags.map((tag) => `tag: ${tag}`)].join("\n");
  const problem = [reason, ...damage].filter(Boolean).join("; ");
  const state = make("td", {className: status === "finished" || status === "running" ? "" : "bad"}, status, problem && make("div", {className: "soft reason"}, problem));
  const cells = DATA.table.rows[run].map((cell, number) => {
    const column = DATA.table.columns[number];
    const best = cell !== null && sortKey(cell) === BEST[number] && BEST[number] !== null;
    const text = textOf(cell, column);
    const kind = typeof sortKey(cell) === "number" || Array.isArray(cell) ? "number" : "";
    return make("td", {className: `${kind}${best ? " best" : ""}`, title: cell === null ? "" : exact(cell)}, text, best ? " ★" : "");
  });
  return make("tr", {}, make("th", {scope: "row", title}, box, swatch(DATA.runs[run]), make("bdi", {}, name)), state, ...cells);
}

/** The mean and the sample standard deviation of a group in each column of numbers. */
function groupRow(label, runs) {
  const cells = DATA.table.columns.map(({kind, goal, block}, number) => {
    const values = runs.map((run) => sortKey(DATA.table.rows[run][number])).filter((value) => typeof value === "number");
    if (!["best", "last"].includes(block) || values.length < 2) return make("td", {});
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1));
    return make("td", {className: "number"}, `${short(mean)} ± ${short(Number(std.toPrecision(2)))}`);
  });
  return make("tr", {className: "group"}, make("th", {scope: "rowgroup"}, make("bdi", {}, label)), make("td", {}, `n=${runs.length}`), ...cells);
}

/** The groups of the table: all runs in one, those of the comparison, or those with the same value of a parameter. */
function grouped(runs) {
  if (!view.group) return [["", runs]];
  const groups = new Map();
  const labels = new Map(DATA.groups.flatMap(({label, runs}) => runs.map((run) => [run, label])));
  const column = DATA.table.columns[view.group];
  for (const run of runs) {
    const value = column ? textOf(DATA.table.rows[run][view.group], column) || "none" : labels.get(run);
    const label = column ? `${column.title} = ${value}` : value;
    groups.set(label, [...(groups.get(label) ?? []), run]);
  }
  return [...groups];
}

function renderTable() {
  const runs = sortedRuns();
  const shown = view.all ? runs : runs.slice(0, MOST_ROWS);
  const body = make("tbody");
  for (const [label, members] of grouped(shown)) {
    if (view.group) body.append(groupRow(label, members));
    body.append(...members.map(rowOf));
  }
  byId("table").replaceChildren(header(), body);
  byId("count").textContent = runs.length === DATA.runs.length ? `${runs.length} runs` : `${runs.length} of ${DATA.runs.length} runs`;
  byId("show-all").hidden = shown.length === runs.length;
  byId("show-all").textContent = `Show all ${runs.length} runs`;
}

/** Draw the runs that are checked and not filtered out. */
function updateDrawn() {
  choose({drawn: new Set([...DATA.runs.keys()].filter((run) => passes(run) && !view.unchecked.has(run)))});
}

function showDraw(value) {
  byId("draw").querySelector("[value=own]").hidden = value !== "own";
  byId("draw").value = value;
}

function drawSome(which) {
  const all = [...DATA.runs.keys()];
  const number = BEST.findIndex((best) => best !== null);
  const sign = DATA.table.columns[number]?.goal === "max" ? -1 : 1;
  const key = (run) => sortKey(DATA.table.rows[run][number]);
  const rated = number < 0 ? all : all.filter((run) => typeof key(run) === "number").sort((a, b) => sign * (key(a) - key(b)));
  const chosen = {all, none: [], best: rated.slice(0, 5)}[which];
  if (!chosen) return;
  view.unchecked = new Set(all.filter((run) => !chosen.includes(run)));
  showDraw(which);
  renderTable();
  updateDrawn();
}

function setUpTable() {
  const params = DATA.table.columns.map(({title, block}, number) => [number, title, block]).filter(([, , block]) => block === "parameters");
  const groups = DATA.groups.length ? [["groups", "the groups of the comparison"]] : [];
  byId("group").append(...[["", "nothing"], ...groups, ...params].map(([value, text]) => make("option", {value}, text)));
  byId("group").addEventListener("change", () => { view.group = byId("group").value; renderTable(); });
  byId("draw").addEventListener("change", () => drawSome(byId("draw").value));
  byId("filter").addEventListener("input", calmly(() => {
    view.filter = byId("filter").value.trim();
    renderTable();
    updateDrawn();
  }, 150));
  byId("show-all").addEventListener("click", () => { view.all = true; renderTable(); });
  renderTable();
}
