// What two limits do, and what they promise. The same formulas as skrd4ad/metrics/consequences.py and thresholds.py, so
// that a drag needs no server; a test holds both to the same numbers.

const PARTS = 1000;
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

function formatNumber(value) { // three significant figures, as theme.format_number
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3)), exponent = Math.floor(Math.log10(Math.abs(rounded)));
  return exponent < -6 ? value.toExponential(2) : rounded.toFixed(Math.max(0, 2 - exponent));
}

function formatRate(rate) { // two significant figures say enough of a share of few images
  const percent = 100 * rate;
  if (percent === 0 || percent >= 99.5) return `${Math.round(percent)} %`;
  return `${Number(percent.toPrecision(2)).toString()} %`;
}

function sortedScores(lists) {
  const all = new Float64Array(lists.reduce((total, list) => total + list.length, 0));
  lists.reduce((at, list) => (all.set(list, at), at + list.length), 0);
  return all.sort();
}

function countAbove(sorted, limit) { // strictly above, as a verdict compares
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return sorted.length - low;
}

function countVerdicts(sorted, { review, reject }) {
  const ng = countAbove(sorted, reject), above = countAbove(sorted, review ?? reject);
  return { ok: sorted.length - above, review: above - ng, ng, total: sorted.length };
}

function consequences(good, defect, { defectRate, costs }) { // good, defect: counts by verdict; defect may be empty
  const goodParts = PARTS * (1 - defectRate), badParts = PARTS * defectRate;
  const hasDefects = defect.total > 0, known = hasDefects || defectRate === 0;
  const falseRejects = (goodParts * good.ng) / good.total;
  const escapes = hasDefects ? (badParts * defect.ok) / defect.total : null;
  const reviews = (goodParts * good.review) / good.total + (hasDefects ? (badParts * defect.review) / defect.total : 0);
  const cost = costs && known
    ? falseRejects * costs.falseReject + (escapes ?? 0) * costs.escape + reviews * (costs.review ?? 0)
    : null;
  return { falseRejects, escapes, reviews: known ? reviews : null, cost };
}

function promise(sorted, limit) { // false rejects to expect of new good parts, from n normals of which some are above
  const n = sorted.length, above = countAbove(sorted, limit), rank = n - above;
  if (rank < 1) return { n, above, certified: 1, low: null, high: null };
  const [low, high] = [0.025, 0.975].map((share) => betaInverse(share, above + 1, rank));
  return { n, above, certified: (above + 1) / (n + 1), low, high };
}

// ---- the beta distribution ----

function logGamma(x) { // Lanczos, for x >= 1
  let sum = LANCZOS[0];
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i] / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

function betaFraction(x, a, b) { // continued fraction of the incomplete beta function, by Lentz
  const tiny = 1e-300, safe = (value) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1, d = 1 / safe(1 - ((a + b) * x) / (a + 1)), result = d;
  for (let m = 1; m <= 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / safe(1 + even * d);
    c = safe(1 + even / c);
    result *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / safe(1 + odd * d);
    c = safe(1 + odd / c);
    result *= d * c;
    if (Math.abs(d * c - 1) < 1e-14) break;
  }
  return result;
}

function betaShare(x, a, b) { // regularised incomplete beta function, a and b at least 1
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  return x < (a + 1) / (a + b + 2)
    ? (front * betaFraction(x, a, b)) / a
    : 1 - (front * betaFraction(1 - x, b, a)) / b;
}

function betaInverse(share, a, b) {
  let low = 0, high = 1;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (betaShare(middle, a, b) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
