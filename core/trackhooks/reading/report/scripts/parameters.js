// Parallel coordinates and the scatter plot.

const only = (columns, wanted) => {
  const chosen = [...columns.number.keys()].filter((i) => wanted(columns.number[i]));
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, chosen.map((i) => values[i])]));
};

async function setUpParallel() {
  if (!TEMPLATES.parallel) return;
  const element = byId("parallel");
  element.hidden = false;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", "Parallel coordinates of the runs. The values are in the table of runs.");
  const canvas = make("div", {className: "canvas"});
  element.append(canvas);
  const figure = await embedPainted(TEMPLATES.parallel, canvas);
  const isNarrow = element.clientWidth < 110 * figure.roots()[0].below[0].ticker.ticks.length;
  if (isNarrow) figure.roots()[0].below[0].major_label_orientation = 0.6;
  const source = figure.get_model_by_name("lines").data_source;
  const all = source.data instanceof Map ? Object.fromEntries(source.data) : {...source.data};
  const update = () => { source.data = only(all, (run) => state.drawn.has(run)); };
  onChange((changes) => { if (changes.drawn) update(); });
  update();
}

const dimension = (name) => DATA.dimensions.find((found) => found.name === name);

async function setUpScatter() {
  const canvas = make("div", {className: "canvas"});
  byId("scatter").append(canvas);
  byId("scatter").setAttribute("role", "img");
  const names = DATA.dimensions.map(({name}) => name);
  const best = names.find((name) => name.startsWith("best.")) ?? names.at(-1);
  for (const [id, value] of [["scatter-x", names[0]], ["scatter-y", best]]) {
    byId(id).append(...names.map((name) => make("option", {value: name}, name)));
    byId(id).value = value;
  }
  const figure = await embedPainted(TEMPLATES.scatter, canvas);
  const plot = figure.roots()[0];
  const update = () => drawScatter(plot, dimension(byId("scatter-x").value), dimension(byId("scatter-y").value));
  byId("scatter-x").addEventListener("change", update);
  byId("scatter-y").addEventListener("change", update);
  for (const event of ["doubletap", "reset"]) plot.on_event(event, update);
  onChange((changes) => { if (changes.drawn) update(); });
  update();
}

function valueOf({name, values, labels}, run) {
  return `${name} ${labels.length ? labels[values[run]] : short(values[run])}`;
}

function drawScatter(plot, x, y) {
  const runs = [...state.drawn].filter((run) => x.values[run] !== null && y.values[run] !== null);
  const source = plot.renderers.find(({name}) => name === "points").data_source;
  source.data = {
    number: runs,
    x: runs.map((run) => x.values[run]), y: runs.map((run) => y.values[run]),
    color: runs.map((run) => DATA.runs[run].color), marker: runs.map((run) => DATA.markers[DATA.runs[run].dash]),
    run: runs.map((run) => DATA.runs[run].name),
    x_text: runs.map((run) => valueOf(x, run)), y_text: runs.map((run) => valueOf(y, run)),
  };
  scaleTo(plot, "x", plot.below[0], x);
  scaleTo(plot, "y", plot.left[0], y);
  byId("scatter").setAttribute("aria-label", `${y.name} over ${x.name}, ${runs.length} runs. The values are in the table of runs.`);
}

/** Let an axis of the scatter plot have the values of all runs. */
function scaleTo(plot, side, axis, {name, values, labels, log}) {
  
  const found = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...found), Math.max(...found)];
  const ticker = labels.length ? model("FixedTicker", {ticks: labels.map((_, i) => i)}) : log ? model("LogTicker") : model("BasicTicker");
  plot[`${side}_scale`] = log ? model("LogScale") : model("LinearScale");
  axis.setv({axis_label: name, ticker, major_label_overrides: new Map(labels.map((label, i) => [i, label]))});
  for (const grid of plot.center.filter((model) => model.type === "Grid" && (model.dimension ? "y" : "x") === side)) grid.ticker = ticker;
  const margin = (high - low) * 0.05 || Math.abs(high) / 10 || 1;
  const ends = log ? [low / (high / low) ** 0.05, high * (high / low) ** 0.05] : [low - margin, high + margin];
  plot[`${side}_range`].setv({start: found.length ? ends[0] : 0, end: found.length ? ends[1] : 1});
}
