// What the user has chosen. Whoever depends on it listens.

const DATA = JSON.parse(document.getElementById("data").textContent);
const TEMPLATES = JSON.parse(document.getElementById("templates").textContent);
const byId = (id) => document.getElementById(id);

const state = {over: "step", smoothing: 0, log: false, bands: DATA.groups.length > 0, drawn: new Set(DATA.runs.keys()), zoom: null};
const listeners = [];

/** Call a function whenever a choice has changed. */
function onChange(listener) {
  listeners.push(listener);
}

/** Change choices, and tell those who depend on them. */
function choose(changes) {
  Object.assign(state, changes);
  for (const listener of listeners) listener(changes);
}

/** Make an element. Text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** Wait until the user has not moved a slider or typed for a moment. */
function calmly(action, milliseconds = 60) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, milliseconds);
  };
}

/** Whether a name matches comma-separated patterns with `*` and `?`; without patterns every name does. */
function matches(name, patterns) {
  const parts = patterns.split(",").map((part) => part.trim()).filter(Boolean);
  const regular = (part) => part.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  return !parts.length || parts.some((part) => new RegExp(`^${/[*?]/.test(part) ? regular(part) : `.*${regular(part)}.*`}$`).test(name));
}

const DASHES = {solid: "", dashed: " (dashed)", dotted: " (dotted)", dotdash: " (dash-dotted)"};

/** The color of a run, as a short line. */
function swatch({color, dash}) {
  const style = {solid: "solid", dashed: "dashed", dotted: "dotted", dotdash: "dashed"}[dash] ?? "solid";
  const mark = make("span", {className: "swatch", title: `the line of this run${DASHES[dash] ?? ""}`});
  mark.style.borderTopColor = color;
  mark.style.borderTopStyle = style;
  return mark;
}

/** Make an object of Bokeh. */
function model(type, attributes = {}) {
  const Model = Bokeh.Models.get(type);
  return new Model(attributes);
}
