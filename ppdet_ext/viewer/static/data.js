// What the server tells, as the page uses it: columns become pictures whose numbers are typed arrays.

export const RIGHT = 1, IGNORED = 2;

const ask = async (address, options) => {
  const answer = await fetch(address, options);
  if (answer.ok) return answer;
  let text = answer.statusText;
  try { text = (await answer.json()).error || text; } catch { /* no JSON: the status says it */ }
  throw new Error(text);
};
export const get = async (address) => (await ask(address)).json();
// The header is what another site's page cannot send.
export const send = (address, body, headers = { "Content-Type": "application/json" }) =>
  ask(address, { method: "POST", headers: { ...headers, "X-Ppdet-View": "1" }, body: headers["Content-Type"] === "application/json" ? JSON.stringify(body) : body });

const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer;

export const unpack = (columns) => {
  const f = columns.found, t = columns.truth;
  const found = { score: new Float32Array(bytes(f.score)), label: new Uint16Array(bytes(f.label)), area: new Uint32Array(bytes(f.area)), hit: new Uint8Array(bytes(f.hit)) };
  const truth = { score: new Float32Array(bytes(t.score)), label: new Uint16Array(bytes(t.label)), area: new Uint32Array(bytes(t.area)), crowd: new Uint8Array(bytes(t.crowd)) };
  const counts = [new Uint32Array(bytes(f.count)), new Uint32Array(bytes(t.count))];
  const cut = (arrays, from, to) => Object.fromEntries(Object.entries(arrays).map(([key, own]) => [key, own.subarray(from, to)]));
  let a = 0, b = 0;
  return columns.number.map((number, i) => {
    const [own, known] = [cut(found, a, a + counts[0][i]), cut(truth, b, b + counts[1][i])];
    a += counts[0][i]; b += counts[1][i];
    return {
      number, name: columns.name[i], height: columns.height[i], width: columns.width[i], part: columns.part[i], state: columns.state[i],
      annotated: columns.annotated[i], predicted: columns.predicted[i], decided: columns.decided[i], found: own, truth: known,
    };
  });
};

// Counts of a picture at a threshold, of the classes and areas that are chosen.
export const count = (picture, { score, label, least, most }) => {
  const { found, truth } = picture;
  let tp = 0, fp = 0, fn = 0, shown = 0, objects = 0, top = 0, doubt = 9, largest = 0;
  const compared = picture.annotated && picture.predicted;
  for (let i = 0; i < found.score.length; i++) {
    if ((label >= 0 && found.label[i] !== label) || found.area[i] < least || found.area[i] > most) continue;
    if (found.score[i] > top) top = found.score[i];
    const far = Math.abs(found.score[i] - score);
    if (far < doubt) doubt = far;
    if (found.score[i] < score) continue;
    shown++;
    if (found.area[i] > largest) largest = found.area[i];
    if (compared) { if (found.hit[i] === RIGHT) tp++; else if (found.hit[i] === 0) fp++; }
  }
  for (let i = 0; i < truth.label.length; i++) {
    if ((label >= 0 && truth.label[i] !== label) || truth.crowd[i] || truth.area[i] < least || truth.area[i] > most) continue;
    objects++;
    if (!picture.predicted && truth.area[i] > largest) largest = truth.area[i];
    if (compared && truth.score[i] < score) fn++;
  }
  return { tp, fp, fn, shown, objects, top, doubt, largest, compared };
};

export const f1 = ({ tp, fp, fn }) => (tp + fp + fn ? (2 * tp) / (2 * tp + fp + fn) : 1);

// Pictures' objects, fetched by the dozen, and kept while they hold. `address` is of the numbers that are wanted.
export class Objects {
  constructor(address, tell, most = 60) { this.address = address; this.most = most; this.known = new Map(); this.wanted = new Set(); this.asked = new Set(); this.again = new Set(); this.tell = tell; this.timer = 0; }

  of(picture, least = 0) {
    const own = this.known.get(picture.number);
    if (!own || own.stale || own.least > least) this.want(picture.number);
    return own;
  }

  want(number) {
    if (this.asked.has(number)) return;
    this.wanted.delete(number);
    this.wanted.add(number);
    // What scrolls by within a moment is asked for together.
    this.timer ||= setTimeout(() => this.fetch(), 30);
  }

  async fetch() {
    // The last ones are in sight; of what has scrolled by long ago nobody wants to know any more.
    const all = [...this.wanted].slice(-240), numbers = all.slice(-this.most);
    this.wanted = new Set(all.slice(0, -this.most));
    this.timer = this.wanted.size ? setTimeout(() => this.fetch(), 30) : 0;
    if (!numbers.length) return;
    numbers.forEach((number) => this.asked.add(number));
    try {
      for (const own of await get(this.address(numbers))) {
        own.stale = this.again.delete(own.number);
        this.known.delete(own.number);
        this.known.set(own.number, own);
      }
      for (const old of this.known.keys()) { if (this.known.size <= 600) break; this.known.delete(old); }
    } finally { numbers.forEach((number) => this.asked.delete(number)); }
    this.tell(numbers);
  }

  // What a person has decided holds at once.
  decided(number, decisions) { const own = this.known.get(number); if (own) own.decisions = decisions; }

  // It has changed; an answer that is under way may be of before.
  forget(number) {
    const own = this.known.get(number);
    if (own) own.stale = true;
    if (this.asked.has(number)) this.again.add(number);
  }
}
