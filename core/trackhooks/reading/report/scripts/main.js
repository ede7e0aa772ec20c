// Start: first what needs no charts, then those in view, then the others.

const bokehLoaded = loadBokeh();

(async () => {
  paintAll();
  setUpTable();
  setUpCurves();
  setUpPictures();
  setUpLists();
  await bokehLoaded;
  await Promise.all([setUpParallel(), setUpScatter()]);
  await showMore();
  document.documentElement.dataset.ready = "true";
})();
