// Start: first what needs no charts, then those in view, then the others.

(async () => {
  setUpTable();
  setUpPictures();
  setUpLists();
  await loadBokeh();
  paintAll();
  setUpCurves();
  await Promise.all([setUpParallel(), setUpScatter()]);
  await showMore();
  document.documentElement.dataset.ready = "true";
})();
