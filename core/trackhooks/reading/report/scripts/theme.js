// Light and dark: a canvas does not get its colors from the page.

const system = matchMedia("(prefers-color-scheme: dark)");
const figures = [];

const isDark = () => {
  const chosen = document.documentElement.dataset.theme ?? "auto";
  return chosen === "auto" ? system.matches : chosen === "dark";
};

function paintAll() {
  document.documentElement.dataset.painted = isDark() ? "dark" : "light";
  for (const figure of figures) paint(figure, isDark());
}

/** Draw a figure in the colors of the page, and again when they change. */
async function embedPainted(item, element) {
  const figure = await embed(structuredClone(item), element);
  figures.push(figure);
  paint(figure, isDark());
  return figure;
}

byId("theme").addEventListener("change", () => {
  document.documentElement.dataset.theme = byId("theme").value;
  paintAll();
});
system.addEventListener("change", paintAll);
