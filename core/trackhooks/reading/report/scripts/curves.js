// What is computed from curves before they are drawn: smoothing, and the means of groups.

/** The line that smoothing and means start from: all points, or the mean of each bucket of a reduced curve. */
function center(track, x) {
  if (!track.mean.length) return {x, y: track.value, count: null};
  const found = {x: [], y: track.mean, count: track.count};
  const width = track.high - track.low || 1;
  let last = -1, sum = 0, n = 0;
  const close = () => { if (n) found.x.push(sum / n); };
  for (let i = 0; i < x.length; i++) {
    if (!Number.isFinite(track.value[i])) continue;
    const place = Math.trunc(((track.step[i] - track.low) / width) * track.buckets);
    const bucket = Math.min(Math.max(place, 0), track.buckets - 1);
    if (bucket !== last) { close(); sum = n = 0; last = bucket; }
    sum += x[i];
    n++;
  }
  close();
  return found.x.length === track.mean.length ? found : {x, y: track.value, count: null};
}

/** The exponential moving average of TensorBoard. A mean of n points counts as n points. */
function smooth({x, y, count}, weight) {
  if (!weight) return {x, y};
  let average = 0, total = 0;
  const smoothed = Float64Array.from(y, (value, i) => {
    if (!Number.isFinite(value)) return NaN;
    const keep = count ? weight ** count[i] : weight;
    average = average * keep + (1 - keep) * value;
    total = total * keep + (1 - keep);
    return average / total;
  });
  return {x, y: smoothed};
}

/** The mean and the sample standard deviation of several lines, at the positions that they share. */
function band(lines) {
  const finite = lines.map(({x, y}) => [...x.keys()].filter((i) => Number.isFinite(x[i])).map((i) => [x[i], y[i]]));
  const longest = Math.max(...finite.map((line) => line.length));
  let positions = new Set(finite.flatMap((line) => line.map(([x]) => x)));
  let placed = finite;
  if (positions.size > 1.5 * longest) {
    placed = onGrid(finite, Math.min(longest, 500));
    positions = new Set(placed.flatMap((line) => line.map(([x]) => x)));
  }
  const sums = new Map([...positions].sort((a, b) => a - b).map((x) => [x, []]));
  for (const line of placed) for (const [x, y] of new Map(line)) sums.get(x).push(y);
  const x = [...sums.keys()];
  const mean = x.map((at) => sums.get(at).reduce((a, b) => a + b, 0) / sums.get(at).length);
  const std = x.map((at, i) => {
    const values = sums.get(at);
    return values.length > 1 ? Math.sqrt(values.reduce((a, b) => a + (b - mean[i]) ** 2, 0) / (values.length - 1)) : NaN;
  });
  return {x, y: mean, std};
}

function onGrid(lines, buckets) {
  const all = lines.flat().map(([x]) => x);
  const low = all.reduce((a, b) => Math.min(a, b), Infinity);
  const width = all.reduce((a, b) => Math.max(a, b), -Infinity) - low || 1;
  return lines.map((line) => {
    const sums = new Map();
    for (const [x, y] of line) {
      if (!Number.isFinite(y)) continue;
      const bucket = Math.min(Math.trunc(((x - low) / width) * buckets), buckets - 1);
      const [sum, n] = sums.get(bucket) ?? [0, 0];
      sums.set(bucket, [sum + y, n + 1]);
    }
    return [...sums].map(([bucket, [sum, n]]) => [low + ((bucket + 0.5) / buckets) * width, sum / n]);
  });
}

/** The values that an axis can show; the others are NaN, which makes a gap. */
function drawable(y, log) {
  const found = new Float64Array(y);
  for (let i = 0; i < found.length; i++) {
    if (!Number.isFinite(found[i]) || (log && found[i] <= 0)) found[i] = NaN;
  }
  return found;
}

/** A mark for each gap of a line, at the height of the value before it, or of the one after it. */
function gaps({x, y, original}) {
  const found = [];
  let inside = false;
  let height = y.find((value) => !Number.isNaN(value));
  for (let i = 0; i < y.length && height !== undefined; i++) {
    const missing = Number.isNaN(y[i]);
    if (missing && !inside) found.push({x: x[i], y: height, value: String(original[i])});
    if (!missing) height = y[i];
    inside = missing;
  }
  return found;
}

/** The points that no line leads to: those between two gaps, and that of a line with only one. */
function dots({x, y}) {
  const isGap = (i) => !(i in y) || Number.isNaN(y[i]);
  const found = [];
  for (let i = 0; i < y.length; i++) {
    if (!isGap(i) && isGap(i - 1) && isGap(i + 1)) found.push({x: x[i], y: y[i], value: String(Number(y[i].toPrecision(4)))});
  }
  return found;
}

/** The pieces of a band without gaps, as polygons. */
function polygons({x, y, std}, log) {
  const found = [];
  let piece = [];
  const close = () => {
    if (piece.length > 1) {
      const low = piece.map(([at, mean, off]) => [at, mean - off]).reverse();
      const points = [...piece.map(([at, mean, off]) => [at, mean + off]), ...low];
      const floor = Math.min(...piece.map(([, mean]) => mean)) / 10;
      found.push({xs: points.map(([at]) => at), ys: points.map(([, value]) => (log ? Math.max(value, floor) : value))});
    }
    piece = [];
  };
  x.forEach((at, i) => {
    if (Number.isFinite(y[i]) && Number.isFinite(std[i]) && (!log || y[i] > 0)) piece.push([at, y[i], std[i]]);
    else close();
  });
  close();
  return found;
}
