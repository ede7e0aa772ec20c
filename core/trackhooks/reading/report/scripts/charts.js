// The curves: one chart for each metric, which is decoded and drawn when it comes into view.

const LABELS = {step: "step", epoch: "epoch", relative: "time since the start", time: "wall time"};
const UNITS = [[300, 1, "s"], [10800, 60, "min"], [Infinity, 3600, "h"]];
const MARKS = ["x", "y", "color", "run", "value"];
const MOST_IN_LEGEND = 28;
const MOST_WIDE = 10_000; // with more points, lines have the width of one pixel of the screen, which is much faster
const EAGER = 30; // so many charts are drawn before they come into view, so that they can be printed

const ZONE = -60 * new Date(DATA.limits.time[0] * 1000).getTimezoneOffset(); // axes show UTC unless times are shifted

/** The length of a unit of an axis in seconds, or 1, and its name. */
function unitOf(over) {
  if (over === "time") return [0.001, ""];
  if (over !== "relative") return [1, ""];
  const [, length, name] = UNITS.find(([longest]) => DATA.limits.relative[1] < longest);
  return [length, name];
}

function limitsOf(over) {
  const [length] = unitOf(over);
  const [low, high] = DATA.limits[over].map((end) => (end + (over === "time" ? ZONE : 0)) / length);
  const margin = (high - low || 1) * 0.01;
  return {start: low - margin, end: high + margin};
}

/** The positions of the points of a curve on an axis. */
function positions(track, over) {
  if (over === "step" || over === "epoch") return track[over];
  const [length] = unitOf(over);
  const start = over === "time" ? DATA.runs[track.run].created + ZONE : 0;
  return track.relative.map((seconds) => (seconds + start) / length);
}

class Chart {
  constructor(coded) {
    this.coded = coded;
    this.metric = coded.metric;
    this.canvas = make("div", {className: "canvas"});
    this.element = make("div", {className: "chart", tabIndex: 0, role: "img"}, make("h3", {}, this.metric), this.canvas);
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.describe();
  }

  describe() {
    const drawn = this.coded.runs.filter((run) => state.drawn.has(run)).length;
    this.element.setAttribute("aria-label", `${this.metric} over ${LABELS[state.over]}, ${drawn} runs. The best and the last values are in the table of runs.`);
  }

  /** Decode and draw the chart, once. */
  show() {
    this.shown ??= this.draw();
    return this.shown;
  }

  async draw() {
    const embedded = bokehLoaded.then(() => embedPainted(TEMPLATES.curves, this.canvas));
    const decoded = decodeCurves(JSON.parse(this.coded.text));
    [this.tracks, this.figure] = await Promise.all([decoded, embedded]);
    const named = (name) => this.figure.get_model_by_name(name);
    this.sources = Object.fromEntries(["lines", "raw", "band", "marks", "dots"].map((name) => [name, named(name).data_source]));
    this.plot = this.figure.roots()[0];
    this.linear = {scale: this.plot.y_scale, ticker: this.plot.left[0].ticker, formatter: this.plot.left[0].formatter};
    this.plot.x_range.change.connect(() => this.onZoom());
    for (const event of ["doubletap", "reset"]) this.plot.on_event(event, resetZoom);
    this.render();
  }

  /** Follow the choices of the user: now if the chart is in view, or else when it comes into view. */
  update() {
    this.describe();
    this.isStale = true;
    if (this.isVisible) this.refresh();
  }

  refresh() {
    if (this.figure && this.isStale) this.render();
  }

  /** The chart has come into view, or has left it. */
  see(isVisible) {
    this.isVisible = isVisible;
    if (isVisible) this.show().then(() => this.refresh());
  }

  render() {
    this.isStale = false;
    const lines = this.lines();
    this.setAxes();
    this.sources.band.data = table(lines.bands, ["xs", "ys", "color"]);
    this.sources.raw.data = table(lines.raw, ["xs", "ys", "color", "dash", "run"]);
    this.sources.lines.data = table(lines.lines, ["xs", "ys", "color", "dash", "run"]);
    this.sources.marks.data = table(lines.lines.flatMap((line) => line.gaps), MARKS);
    this.sources.dots.data = table(lines.lines.flatMap((line) => line.dots), MARKS);
    const points = lines.lines.reduce((sum, {xs}) => sum + xs.length, 0);
    this.figure.get_model_by_name("lines").glyph.line_width = {value: points > MOST_WIDE ? 1 / devicePixelRatio : 1.5};
    this.setHeight([...lines.bands, ...lines.raw, ...lines.lines]);
    this.place();
  }

  /** The lines to draw: of runs, or the means of groups. */
  lines() {
    const tracks = new Map(this.tracks.filter(({run}) => state.drawn.has(run)).map((track) => [track.run, track]));
    const found = {lines: [], raw: [], bands: []};
    for (const group of groupsToDraw()) {
      const members = group.runs.filter((run) => tracks.has(run)).map((run) => this.line(tracks.get(run)));
      if (members.length > 1) {
        const mean = band(members.map(({smoothed}) => smoothed));
        found.bands.push(...polygons(mean, state.log).map((piece) => ({...piece, color: group.color})));
        found.lines.push(finished(mean, {...group, name: `${group.label}, mean of ${members.length}`}));
      } else if (members.length) {
        const [{smoothed, raw, run}] = members;
        found.lines.push(finished(state.smoothing ? smoothed : raw, DATA.runs[run]));
        if (state.smoothing) found.raw.push(finished(raw, DATA.runs[run]));
      }
    }
    return found;
  }

  line(track) {
    const x = positions(track, state.over);
    const raw = {x, y: track.value};
    const isAveraged = state.smoothing || state.bands;
    return {run: track.run, raw, smoothed: isAveraged ? smooth(center(track, x), state.smoothing) : raw};
  }

  setAxes() {
    const [x, y] = [this.plot.below[0], this.plot.left[0]];
    const [, name] = unitOf(state.over);
    const isTime = state.over === "time";
    x.setv({
      axis_label: LABELS[state.over] + (name && ` (${name})`),
      ticker: isTime ? model("DatetimeTicker") : model("BasicTicker"),
      formatter: isTime ? model("DatetimeTickFormatter") : model("BasicTickFormatter"),
    });
    const log = {scale: model("LogScale"), ticker: model("LogTicker", {mantissas: [1, 2, 5]}), formatter: model("BasicTickFormatter")};
    const {scale, ticker, formatter} = state.log ? log : this.linear;
    this.plot.y_scale = scale;
    y.setv({ticker, formatter});
    for (const grid of this.plot.center.filter((model) => model.type === "Grid")) grid.ticker = grid.dimension ? ticker : x.ticker;
    const hover = this.plot.toolbar.tools.find((tool) => tool.type === "HoverTool");
    hover.tooltips = [["run", "@run"], [LABELS[state.over], isTime ? "$snap_x{%F %T}" : "$snap_x{0,0.[000]}"], ["value", "$snap_y"]];
    hover.formatters = isTime ? {$snap_x: "datetime"} : {};
  }

  /** Let the vertical axis contain all that is drawn. */
  setHeight(drawn) {
    let low = Infinity, high = -Infinity;
    for (const {ys} of drawn) {
      for (const value of ys) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) [low, high] = state.log ? [0.1, 1] : [0, 1];
    if (state.log) {
      const margin = high > low ? (high / low) ** 0.05 : 2;
      this.plot.y_range.setv({start: low / margin, end: high * margin});
    } else {
      const margin = high > low ? (high - low) * 0.05 : Math.abs(high) || 1;
      this.plot.y_range.setv({start: low - margin, end: high + margin});
    }
  }

  /** Show the part of the horizontal axis that all charts show: at once, or when the chart comes into view. */
  follow() {
    if (this.isVisible && this.figure && !this.isStale) this.place();
    else this.isStale = true;
  }

  place() {
    const {start, end} = state.zoom ?? limitsOf(state.over);
    this.following = true;
    this.plot.x_range.setv({start, end});
    this.following = false;
  }

  onZoom() {
    const {start, end} = this.plot.x_range;
    if (!this.following) zoomTo({start, end}, this);
  }

  onKey({key, ctrlKey, metaKey, altKey}) {
    const {start, end} = state.zoom ?? limitsOf(state.over);
    const width = end - start;
    const moves = {
      "+": [width / 4, -width / 4], "-": [-width / 2, width / 2], ArrowLeft: [-width / 5, -width / 5], ArrowRight: [width / 5, width / 5],
    };
    if (ctrlKey || metaKey || altKey) return;
    if (key === "0") resetZoom();
    if (key in moves) zoomTo({start: start + moves[key][0], end: end + moves[key][1]});
  }
}

/** What is drawn as one line: the groups, or each run. */
function groupsToDraw() {
  const single = (run) => ({...DATA.runs[run], label: DATA.runs[run].name, runs: [run]});
  if (!state.bands || !DATA.groups.length) return [...DATA.runs.keys()].map(single);
  return DATA.groups.map((group) => (group.runs.length > 1 ? {...group, dash: "solid"} : single(group.runs[0])));
}

/** A line as Bokeh draws it. */
function finished({x, y}, {color, dash, name}) {
  const ys = drawable(y, state.log);
  const named = {color, dash, run: name};
  const withName = (mark) => ({...mark, ...named});
  return {xs: x, ys, ...named, gaps: gaps({x, y: ys, original: y}).map(withName), dots: dots({x, y: ys}).map(withName)};
}

/** Rows as columns. */
function table(rows, names) {
  return Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name])]));
}

const charts = [...document.querySelectorAll("script.curves")].map((script) => {
  const {metric, runs} = JSON.parse(script.dataset.about);
  return new Chart({metric, runs, text: script.textContent});
});

/** Show this part of the horizontal axis in all charts. */
function zoomTo(zoom, from = null) {
  state.zoom = zoom;
  for (const chart of charts) if (chart !== from) chart.follow();
}

function resetZoom() {
  state.zoom = null;
  for (const chart of charts) chart.update();
}

function showCharts() {
  byId("charts").append(...charts.map((chart) => chart.element));
  const watcher = new IntersectionObserver((entries) => {
    for (const {isIntersecting, target} of entries) {
      charts.find((chart) => chart.element === target).see(isIntersecting);
    }
  }, {rootMargin: "200px"});
  for (const chart of charts) watcher.observe(chart.element);
  addEventListener("beforeprint", () => charts.forEach((chart) => chart.refresh()));
}

/** Draw the first charts that are not in view, one after the other, when there is nothing else to do. */
async function showMore() {
  for (const chart of charts.slice(0, EAGER)) {
    await new Promise((done) => setTimeout(done, 100));
    await chart.show();
  }
}

/** Name the lines of the charts, unless there are too many: then pointing at one names it. */
function showLegend() {
  const drawn = groupsToDraw().filter(({runs}) => runs.some((run) => state.drawn.has(run)));
  const named = drawn.map((line) => make("span", {}, swatch({dash: "solid", ...line}), make("bdi", {}, line.label)));
  byId("legend").replaceChildren(...(drawn.length <= MOST_IN_LEGEND ? named : []));
}

function setUpCurves() {
  byId("curves").hidden = !charts.length;
  byId("bands-label").hidden = !DATA.groups.length;
  byId("bands").checked = state.bands;
  byId("over").addEventListener("change", () => choose({over: byId("over").value, zoom: null}));
  byId("log").addEventListener("change", () => choose({log: byId("log").checked}));
  byId("bands").addEventListener("change", () => choose({bands: byId("bands").checked}));
  byId("smoothing").addEventListener("input", () => { byId("smoothing-value").textContent = byId("smoothing").value; });
  byId("smoothing").addEventListener("input", calmly(() => choose({smoothing: Number(byId("smoothing").value)})));
  byId("metrics").addEventListener("input", calmly(() => {
    for (const chart of charts) chart.element.hidden = !matches(chart.metric, byId("metrics").value);
  }));
  byId("reset").addEventListener("click", resetZoom);
  onChange(() => charts.forEach((chart) => chart.update()));
  onChange(showLegend);
  showLegend();
  showCharts();
}
