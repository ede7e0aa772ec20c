// Decode what `encoding.py` encodes: planes of bytes of the folded differences of 32-bit words.

async function words(text) {
  const bytes = new Uint8Array(await inflate(text));
  const count = bytes.length / 4;
  const found = new Int32Array(count);
  let last = 0;
  for (let i = 0; i < count; i++) {
    const folded = bytes[i] | (bytes[count + i] << 8) | (bytes[2 * count + i] << 16) | (bytes[3 * count + i] << 24);
    last = (last + ((folded >>> 1) ^ -(folded & 1))) | 0;
    found[i] = last;
  }
  return found;
}

async function decodeValues({base, scale, data}) {
  const found = new Float64Array(new Float32Array((await words(data)).buffer));
  for (let i = 0; i < found.length; i++) found[i] = found[i] * scale + base;
  return found;
}

const MISSING = 1 - 2 ** 31;

async function decodePlaces({first, unit, data}) {
  const found = new Float64Array(await words(data));
  for (let i = 0; i < found.length; i++) found[i] = found[i] === MISSING ? NaN : found[i] * unit + first;
  return found;
}

/** Return the curves of a metric, one for each run that has it. */
async function decodeCurves(coded) {
  const names = ["step", "epoch", "time", "count"];
  const places = await Promise.all(names.map((name) => decodePlaces(coded[name])));
  const [value, mean] = await Promise.all([decodeValues(coded.value), decodeValues(coded.mean)]);
  let start = 0, meanStart = 0;
  return coded.runs.map((run, i) => {
    const part = (column) => column.subarray(start, start + coded.sizes[i]);
    const meanPart = (column) => column.subarray(meanStart, meanStart + coded.meanSizes[i]);
    const track = {
      run, step: part(places[0]), epoch: part(places[1]), relative: part(places[2]), value: part(value),
      mean: meanPart(mean), count: meanPart(places[3]), buckets: coded.buckets[i], low: coded.low, high: coded.high,
    };
    start += coded.sizes[i];
    meanStart += coded.meanSizes[i];
    return track;
  });
}
