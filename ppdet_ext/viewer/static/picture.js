// Masks over a picture as SVG, and one picture with its list of objects: zoom, keys, verdicts.
import { IGNORED, RIGHT, f1 } from "./data.js";

const SVG = "http://www.w3.org/2000/svg";
export const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const draw = (name, attributes, parent) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};
const outline = (own) => own.path || (([x1, y1, x2, y2]) => `M${x1} ${y1}H${x2}V${y2}H${x1}z`)(own.box);
const CROWDED = 40; // objects of a tile that is drawn without rims, which would take half as long again
let clips = 0;

// Fills `svg` with what `page.layers` says; `restyle` then hides what is below the score, without drawing anew.
export const drawObjects = (svg, picture, own, page) => {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  svg.classList.toggle("outlined", page.outlined || page.layers === "both");
  if (!own || page.layers === "picture") return;
  if (page.layers === "difference" && picture.annotated) return drawPixels(svg, own, page);
  const { colours, classes } = page.state, rims = svg.id === "drawing" || own.truth.length + own.found.length < CROWDED;
  const shapes = (list, kind, colour) => list.forEach((one, place) => {
    const d = outline(one), about = { kind, place, label: one.label, area: one.area, score: one.score };
    if (rims) Object.assign(draw("path", { d, class: "rim" }, svg).dataset, about);
    const shape = draw("path", { d, class: `shape ${kind}${one.path ? "" : " box"}${one.crowd ? " crowd" : ""}` }, svg);
    shape.style.setProperty("--c", colour(one));
    Object.assign(shape.dataset, about);
  });
  const byClass = (one) => classes[one.label].colour;
  if (page.layers === "truth" || page.layers === "both") shapes(own.truth, "truth", page.layers === "both" ? () => colours.truth : byClass);
  if (page.layers !== "truth") shapes(own.found, "found", page.layers === "both" ? () => colours.prediction : byClass);
  restyle(svg, own, page);
};

// Right, superfluous and missed pixels, class by class: annotations, predictions, and predictions cut by annotations, which lie on top.
const drawPixels = (svg, own, page) => {
  const { tp, fp, fn } = page.state.colours;
  const group = draw("g", { class: "pixels" }, svg), labels = new Set([...own.truth, ...own.found].map((one) => one.label));
  const paths = (list, label, parent, colour, kind) => list.forEach((one, place) => {
    if (one.label !== label || one.crowd) return;
    const path = draw("path", { d: outline(one), ...(colour ? { fill: colour } : {}) }, parent);
    Object.assign(path.dataset, { kind, place, label, area: one.area, score: one.score });
  });
  for (const label of labels) { paths(own.found, label, group, fp, "found"); paths(own.truth, label, group, fn, "truth"); }
  for (const label of labels) {
    const name = `clip${++clips}`, clip = draw("clipPath", { id: name }, draw("defs", {}, group));
    paths(own.truth, label, clip, null, "truth");
    paths(own.found, label, draw("g", { "clip-path": `url(#${name})` }, group), tp, "found");
  }
  restyle(svg, own, page);
};

export const hides = (page, kind, label, area, score) =>
  (page.label >= 0 && label !== page.label) || area < page.least || area > page.most || (kind === "found" && Math.fround(score) < page.score);

export const restyle = (svg, own, page) => {
  for (const shape of svg.querySelectorAll("path[data-kind]")) {
    const { kind, place, label, area, score } = shape.dataset, one = own[kind][place];
    shape.classList.toggle("off", hides(page, kind, +label, +area, +score));
    shape.classList.toggle("rejected", own.decisions[one?.key]?.verdict === "rejected");
    shape.classList.toggle("chosen", page.chosen === one);
  }
  // What is chosen is seen on whatever layer.
  svg.querySelector(".focus")?.remove();
  if (page.chosen && (page.layers === "difference" || !svg.querySelector(".chosen:not(.off)")) && (own.found.includes(page.chosen) || own.truth.includes(page.chosen))) {
    draw("path", { d: outline(page.chosen), class: "focus" }, svg);
  }
};

const $ = (id) => document.getElementById(id);

// The part of the page that shows one picture.
export class One {
  constructor(page) {
    this.page = page; this.picture = null; this.zoom = 0; this.place = -1;
    const stage = $("stage");
    let held = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button || event.pointerType === "touch") return;
      held = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop, moved: false };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!held) return;
      held.moved ||= Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4;
      stage.classList.toggle("held", held.moved);
      stage.scrollTo(held.left - (event.clientX - held.x), held.top - (event.clientY - held.y));
    });
    const release = (event) => {
      if (held && !held.moved && event.type === "pointerup") this.pointAt(event);
      held = null; stage.classList.remove("held");
    };
    ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, release));
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.scale(this.shown * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event);
    }, { passive: false });
    $("fit").onclick = () => this.scale(0);
    $("actual").onclick = () => this.scale(1);
    $("larger").onclick = () => this.scale(this.shown * 1.5);
    $("smaller").onclick = () => this.scale(this.shown / 1.5);
    new ResizeObserver(() => { if (this.picture && !this.zoom) this.scale(0); }).observe(stage);
  }

  get own() { return this.picture && this.page.objects.of(this.picture); }

  show(picture) {
    const other = this.picture?.number !== picture.number;
    this.picture = picture;
    if (other) { this.place = -1; this.page.chosen = null; $("image").src = `/picture/${picture.number}?s=${this.page.state.token}`; $("image").alt = picture.name; this.scale(this.actual ? 1 : 0); $("objects").scrollTop = 0; }
    $("name").textContent = picture.name;
    this.draw();
  }

  draw() {
    const { picture, page } = this;
    if (!picture) return;
    // One that was drawn anew is still the one that was chosen.
    const own = this.own, list = this.listed();
    if (page.chosen && own) page.chosen = [...own.found, ...own.truth].find((one) => one.key === page.chosen.key) || null;
    this.place = list.indexOf(page.chosen);
    drawObjects($("drawing"), picture, own, page);
    const mm = page.state.mm, size = `${picture.width} × ${picture.height} px`;
    const real = mm ? `, ${(picture.width * mm).toFixed(0)} × ${(picture.height * mm).toFixed(0)} mm` : "";
    const at = page.order.indexOf(picture.number);
    this.about = [size + real, picture.part, at < 0 ? "" : `${at + 1} of ${page.order.length}`];
    this.tell();
    this.list(own);
  }

  // Facts of the picture, and how many objects are right at this score.
  tell() {
    const counts = this.page.count(this.picture), { tp, fp, fn, compared } = counts;
    const told = compared ? `${tp} right, ${fp} too many, ${fn} missed, F1 ${f1(counts).toFixed(2)}` : "";
    $("facts").textContent = [...this.about, told].filter(Boolean).join(" · ");
  }

  restyle() {
    if (!this.picture) return;
    if (this.own) restyle($("drawing"), this.own, this.page);
    this.tell();
    this.list(this.own);
  }

  // Objects that keys go through: those that are drawn.
  listed() {
    const { page, own } = this;
    if (!own) return [];
    const seen = (kind) => own[kind].filter((one) => !hides(page, kind, one.label, one.area, one.score));
    const missed = (one) => own.found.length > 0 && one.score < page.score && !one.crowd;
    if (page.layers === "truth") return seen("truth");
    const found = seen("found").sort((a, b) => b.score - a.score);
    return page.layers === "found" ? found : [...found, ...seen("truth").filter((one) => missed(one) || !this.picture.predicted)];
  }

  list(own) {
    const { page, picture } = this, side = $("objects");
    const typing = side.contains(document.activeElement) && /TEXTAREA|SELECT/.test(document.activeElement.tagName);
    if (typing) return;
    side.replaceChildren();
    if (picture.state === "failed") side.append(make("p", { className: "warning", textContent: own?.error || "It could not be predicted." }));
    else if (picture.state) side.append(make("p", { className: "note", textContent: picture.state === "running" ? "Being predicted…" : "Waits for its prediction…" }));
    else if (!picture.predicted && page.predicts) side.append(make("p", { className: "line" }, make("button", { className: "plain", textContent: "Predict (p)", onclick: () => page.predict([picture.number]) })));
    if (!own) return;
    const list = this.listed();
    const truths = new Set(own.truth), groups = [["Predictions", list.filter((one) => !truths.has(one))], [page.layers === "truth" ? "Annotations" : "Missed", list.filter((one) => truths.has(one))]];
    for (const [title, rows] of groups) {
      if (!rows.length) continue;
      side.append(make("h3", { textContent: `${title} (${rows.length})` }), ...rows.map((one) => this.row(one, own, truths.has(one))));
    }
    if (!list.length && !picture.state) side.append(make("p", { className: "note", textContent: own.found.length || own.truth.length ? "No object at this score, of these filters." : picture.predicted ? "Nothing was found here." : picture.annotated ? "No object is annotated here." : "" }));
    side.querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
  }

  row(one, own, isTruth) {
    const { page } = this, decision = own.decisions[one.key] || {}, chosen = page.chosen === one;
    const name = page.state.classes[one.label].name;
    const dot = make("span", { className: "dot" });
    dot.style.background = page.state.classes[one.label].colour;
    const act = (sign, verdict, kind, title) => {
      const button = make("button", { type: "button", textContent: sign, title, className: kind, onclick: (event) => { event.stopPropagation(); this.decide(one, { verdict: decision.verdict === verdict ? "" : verdict }); } });
      button.setAttribute("aria-pressed", decision.verdict === verdict);
      button.setAttribute("aria-label", `${title}: ${name}`);
      return button;
    };
    const acts = make("div", { className: "acts" }, act("✓", "accepted", "yes", "Accept (a)"), act("✕", "rejected", "no", "Reject (r)"));
    const title = make("div", { className: "title" }, dot, make("span", { textContent: decision.class && decision.class !== name ? `${name} → ${decision.class}` : name }));
    const box = make("div", { className: `object${chosen ? " chosen" : ""} ${decision.verdict || ""}`, onclick: () => this.choose(one) }, title, acts, make("div", { className: "says" }, ...this.says(one, isTruth, chosen ? "" : decision.note)));
    if (chosen) {
      const select = make("select", { title: "Class", onclick: (event) => event.stopPropagation(), onchange: () => { const value = select.value; select.blur(); this.decide(one, { class: value === name ? "" : value }); } }, ...page.state.classes.map((own) => make("option", { value: own.name, textContent: own.name })));
      select.value = decision.class || name;
      const note = make("textarea", { placeholder: "Note (n)", value: decision.note || "", maxLength: 2000, onclick: (event) => event.stopPropagation(), onchange: () => this.decide(one, { note: note.value }) });
      note.addEventListener("keydown", (event) => { if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) { event.preventDefault(); event.stopPropagation(); note.blur(); } });
      box.append(make("div", { className: "more" }, select, note));
    }
    return box;
  }

  // Score, verdict of the comparison, size, note: parts of a line.
  says(one, isTruth, note) {
    const mm = this.page.state.mm, words = [], near = one.iou ? `, IoU ${one.iou.toFixed(2)}` : "";
    if (!isTruth) {
      words.push(one.score.toFixed(2));
      if (one.hit === RIGHT) words.push(make("span", { className: "right", textContent: `right${near}` }));
      else if (one.hit === IGNORED) words.push("not counted");
      else if (one.hit === 0) words.push(make("span", { className: "wrong", textContent: `wrong${near}` }));
    } else if (one.crowd) words.push("crowd");
    if (mm && one.length) words.push(`${(one.length * mm).toFixed(1)} × ${(one.width * mm).toFixed(1)} mm`, `${(one.area * mm * mm).toFixed(1)} mm²`);
    else words.push(one.length ? `${one.length.toFixed(0)} × ${one.width.toFixed(0)} px` : "", `${one.area} px²`);
    return [...words, note || ""].filter(Boolean).flatMap((word, i) => (i ? [" · ", word] : [word]));
  }

  choose(one) {
    this.page.chosen = one;
    this.place = this.listed().indexOf(one);
    this.restyle();
    if (one && this.shown > this.fitted * 1.05) this.centre(one);
  }

  step(by) {
    const list = this.listed();
    if (!list.length) return;
    this.place = this.place < 0 ? (by > 0 ? 0 : list.length - 1) : (this.place + by + list.length) % list.length;
    this.choose(list[this.place]);
  }

  async decide(one, changes, goOn = false) {
    if (!one) return this.page.say("Choose an object first: j, k, or a click on it.");
    const { picture } = this;
    try {
      const answer = await this.page.decide(picture, one.key, changes);
      this.page.objects.decided(picture.number, answer.decisions);
      this.page.tiles.decided(picture.number, answer.decisions);
      picture.decided = answer.decided;
      if (this.picture !== picture) return;
      if (goOn && this.listed().indexOf(one) < this.listed().length - 1) this.step(1);
      else this.restyle();
    } catch (error) { this.page.say(error.message); }
  }

  pointAt(event) {
    const box = $("canvas").getBoundingClientRect(), { picture } = this;
    const x = ((event.clientX - box.left) / box.width) * picture.width, y = ((event.clientY - box.top) / box.height) * picture.height;
    const inside = this.listed().filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x < x2 && y >= y1 && y < y2);
    // The smallest of those under the pointer: larger ones can be pointed at elsewhere.
    const shapes = $("drawing").querySelectorAll("path[data-kind]:not(.off)"), point = new DOMPoint(x, y);
    const hit = inside.filter((one) => [...shapes].some((shape) => this.own[shape.dataset.kind][shape.dataset.place] === one && shape.isPointInFill(point)));
    this.choose((hit.length ? hit : inside).sort((a, b) => a.area - b.area)[0] || null);
  }

  get fitted() {
    const stage = $("stage"), { picture } = this;
    return Math.min(stage.clientWidth / picture.width, stage.clientHeight / picture.height) || 1;
  }

  get shown() { return this.zoom || this.fitted; }

  // 0: as large as there is room. A pixel of the picture is one of the screen's at 1.
  scale(zoom, at) {
    if (!this.picture) return;
    const stage = $("stage"), canvas = $("canvas"), before = this.shown, ratio = window.devicePixelRatio || 1;
    const box = stage.getBoundingClientRect(), x = at ? at.clientX - box.left : stage.clientWidth / 2, y = at ? at.clientY - box.top : stage.clientHeight / 2;
    const from = [stage.scrollLeft + x, stage.scrollTop + y];
    this.zoom = zoom && Math.min(Math.max(zoom, Math.min(this.fitted, 0.1)), 16);
    this.actual = zoom === 1;
    if (this.actual) this.zoom = 1 / ratio;
    const scale = this.shown;
    canvas.style.width = `${this.picture.width * scale}px`;
    canvas.style.height = `${this.picture.height * scale}px`;
    canvas.classList.toggle("sharp", scale * ratio >= 2);
    stage.scrollTo((from[0] * scale) / before - x, (from[1] * scale) / before - y);
    $("zoom").textContent = `${Math.round(scale * ratio * 100)} %`;
  }

  centre({ box: [x1, y1, x2, y2] }) {
    const stage = $("stage"), scale = this.shown;
    stage.scrollTo({ left: ((x1 + x2) / 2) * scale - stage.clientWidth / 2, top: ((y1 + y2) / 2) * scale - stage.clientHeight / 2 });
  }
}
