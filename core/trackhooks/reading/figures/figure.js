(async () => {
  await loadBokeh();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const figure = await embed(JSON.parse(document.getElementById("item").textContent), document.getElementById("figure"));
  paint(figure, dark.matches);
  dark.addEventListener("change", () => paint(figure, dark.matches));
  document.documentElement.dataset.ready = "true";
})();
