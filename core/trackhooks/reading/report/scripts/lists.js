// Pictures side by side, files, and differences.

function setUpPictures() {
  if (!DATA.pictures.length && !DATA.leftOut) return;
  byId("pictures").hidden = false;
  const names = [...new Set(DATA.pictures.map(({name}) => name))].sort();
  byId("picture-name").append(...names.map((name) => make("option", {value: name}, name)));
  const left = DATA.leftOut;
  byId("pictures-left-out").textContent = left ? `${left} older or missing pictures are left out: this file has at most ${DATA.limit} of them.` : "";
  byId("picture-name").addEventListener("change", () => choosePictures());
  byId("picture-step").addEventListener("input", () => showPictures());
  onChange((changes) => { if (changes.drawn) showPictures(); });
  choosePictures();
}

const chosenPictures = () => DATA.pictures.filter(({name}) => name === byId("picture-name").value);
const stepsOf = (pictures) => [...new Set(pictures.map(({step}) => step))].sort((a, b) => a - b);

/** Return the latest pictures of each run up to a step: runs take pictures at different steps. */
function picturesUpTo(pictures, step) {
  const latest = new Map();
  const earlier = pictures.filter((picture) => picture.step <= step);
  earlier.forEach(({run, step: own}) => latest.set(run, Math.max(own, latest.get(run) ?? -Infinity)));
  return earlier.filter(({run, step: own}) => own === latest.get(run));
}

function choosePictures() {
  const steps = stepsOf(chosenPictures());
  byId("picture-step").max = Math.max(steps.length - 1, 0);
  byId("picture-step").value = steps.length - 1;
  showPictures();
}

function showPictures() {
  const pictures = chosenPictures();
  const step = stepsOf(pictures)[Number(byId("picture-step").value)];
  byId("picture-at").textContent = step ?? "";
  const here = picturesUpTo(pictures, step).filter(({run}) => state.drawn.has(run)).sort((a, b) => a.run - b.run);
  byId("picture-list").replaceChildren(...here.map(({run, name, source, epoch, step: own}) => {
    const {name: title} = DATA.runs[run];
    const place = `step ${own}${epoch < 0 ? "" : `, epoch ${epoch}`}`;
    return make("figure", {}, make("img", {src: source, alt: `${name} of ${title} at ${place}`}), make("figcaption", {}, swatch(DATA.runs[run]), make("bdi", {}, title), make("span", {className: "soft"}, ` ${place}`)));
  }));
}

const names = (runs) => (runs.length === DATA.runs.length ? "all runs" : runs.map((run) => DATA.runs[run].name).join(", "));

const LONG = 40;

/** Fill a table; a row of one cell is the title of those below it. Columns without content are left out. */
function fillTable(id, titles, rows) {
  const filled = titles.map((_, i) => rows.some((row) => row.length > 1 && row[i]));
  const only = (row) => row.filter((_, i) => filled[i]);
  const head = make("thead", {}, make("tr", {}, ...only(titles).map((title) => make("th", {scope: "col"}, title))));
  const cell = (text) => make("td", {className: text.length > LONG ? "wraps" : ""}, text);
  const lines = rows.map((row) => {
    if (row.length === 1) return make("tr", {className: "block"}, make("th", {scope: "rowgroup", colSpan: only(titles).length}, row[0]));
    const [first, ...cells] = only(row);
    return make("tr", {}, make("th", {scope: "row"}, make("bdi", {}, first)), ...cells.map(cell));
  });
  byId(id).replaceChildren(head, make("tbody", {}, ...lines));
}

/** The rows of what differs, with a title for each block. */
function differenceRows() {
  return DATA.differences.flatMap(({block, name, values}, i) => {
    const title = DATA.differences[i - 1]?.block === block ? [] : [[block]];
    return [...title, ...values.map(({text, runs}, j) => [j ? "" : name, text || "none", names(runs)])];
  });
}

function setUpLists() {
  byId("differences").hidden = !DATA.differences.length;
  fillTable("difference-table", ["what", "value", "runs"], differenceRows());
  byId("files").hidden = !DATA.files.length;
  fillTable("file-table", ["file", "run", "kind", "aliases", "size", "path", "sha256"], DATA.files.map((file) =>
    [file.name, DATA.runs[file.run].name, [file.kind, file.format].filter(Boolean).join(", "), file.aliases.join(", "),
      file.superseded ? `${file.size}, overwritten since` : file.size, file.path, file.hash]));
}
