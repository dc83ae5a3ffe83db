// The page: filters, order, score, keys, files; what the server has new is asked for every second or so.
import { Objects, count, f1, get, send, unpack } from "./data.js";
import { Gallery } from "./gallery.js";
import { One, make } from "./picture.js";

const $ = (id) => document.getElementById(id);
const kept = {
  get: (key, other) => { try { return localStorage.getItem(`ppdet-ext-${key}`) ?? other; } catch { return other; } },
  set: (key, value) => { try { localStorage.setItem(`ppdet-ext-${key}`, value); } catch { /* it holds for this page alone */ } },
};
const page = {
  pictures: [], order: [], version: 0, state: null, layers: "found", outlined: false, chosen: null, predicts: false,
  score: 0.5, label: -1, least: 0, most: Infinity, waiting: 0, loading: false, compared: true,
  count: (picture) => count(picture, page),
  decide: async (picture, key, changes) => (await send("/api/decide", { number: picture.number, key, ...changes })).json(),
};

const WHAT = {
  all: ["All pictures", () => true],
  wrong: ["With errors", (c) => c.fp + c.fn > 0], fp: ["Too many (FP)", (c) => c.fp > 0], fn: ["Missed (FN)", (c) => c.fn > 0],
  perfect: ["Without errors", (c) => c.compared && !c.fp && !c.fn],
  objects: ["With annotations", (c) => c.objects > 0], empty: ["Without annotations", (c, p) => p.annotated && !c.objects],
  found: ["With predictions", (c) => c.shown > 0], nothing: ["Nothing found", (c, p) => p.predicted && !c.shown],
  accepted: ["Accepted", (c, p) => p.decided[0] > 0], rejected: ["Rejected", (c, p) => p.decided[1] > 0], noted: ["With a note", (c, p) => p.decided[2] > 0],
  open: ["Nothing decided", (c, p) => !p.decided[0] && !p.decided[1]], failed: ["Failed", (c, p) => p.state === "failed"],
};
const SORT = {
  data: ["Order of the data", (c, p) => p.number], newest: ["Newest first", (c, p) => -p.number], name: ["By name", null],
  worst: ["Worst first (FP + FN)", (c) => -(c.fp + c.fn)], f1: ["Lowest F1 first", (c) => (c.compared ? f1(c) : 2)],
  sure: ["Highest score first", (c) => -c.top], unsure: ["Nearest to the score first", (c) => c.doubt],
  largest: ["Largest object first", (c) => -c.largest], most: ["Most objects first", (c, p) => -(p.predicted ? c.shown : c.objects)],
};
const KEYS = [
  ["← →", "previous and next picture; in the tiles, also ↑ ↓ and Enter"], ["j k", "next and previous object"], ["a", "accept the object, and go on to the next"], ["r", "reject it, and go on"],
  ["u", "take the verdict back"], ["n", "write a note"], ["1 2 3 4 5", "picture alone, truth, predictions, difference, both"], ["o", "outlines alone, or filled"],
  ["[ ]", "lower and raise the score"], ["z f + −", "1:1, fit, larger, smaller"], ["c", "next class alone, then all"], ["p", "predict this picture"], ["/", "look for a name"],
  ["e", "export"], ["d", "dark or light"], ["Esc", "back to all pictures"], ["?", "these keys"],
];

let hush = 0;
page.say = (text) => { const box = $("message"); box.textContent = text; box.hidden = false; clearTimeout(hush); hush = setTimeout(() => { box.hidden = true; }, 6000); };
// Tiles get what the slider shows, and a little below; one picture gets all.
page.floor = () => Math.max(0, Math.floor(page.score * 10 - 1) / 10);
page.tiles = new Objects((numbers) => `/api/pictures?ids=${numbers.join()}&least=${page.floor()}`, (numbers) => gallery.repaint(numbers), 40);
page.objects = new Objects(([number]) => `/api/objects/${number}`, (numbers) => { if (one.picture && numbers.includes(one.picture.number)) one.draw(); }, 1);
const gallery = new Gallery(page, $("gallery"), $("sheet"));
const one = new One(page);
page.predict = async (numbers, urgent = true) => { try { await send("/api/predict", { numbers, urgent }); poll(true); } catch (error) { page.say(error.message); } };

const predictAll = async () => { try { const { asked } = await (await send("/api/predict", { all: true })).json(); page.say(asked ? `${asked} ${asked === 1 ? "picture is" : "pictures are"} being predicted.` : "All pictures are predicted."); poll(true); } catch (error) { page.say(error.message); } };

// --- which pictures, in which order

const arrange = () => {
  const [, fits] = WHAT[$("what").value], [, key] = SORT[$("sort").value], part = $("part").value, text = $("search").value.trim().toLowerCase();
  const narrowed = page.label >= 0 || page.least > 0 || page.most < Infinity;
  const rows = [];
  for (const picture of page.pictures) {
    if ((part && picture.part !== part) || (text && !picture.name.toLowerCase().includes(text))) continue;
    const own = page.count(picture);
    if (!fits(own, picture) || (narrowed && !own.shown && !own.objects)) continue;
    rows.push([key ? key(own, picture) : 0, picture]);
  }
  if (key) rows.sort(([a, p], [b, q]) => a - b || p.number - q.number);
  else rows.sort(([, p], [, q]) => p.name.localeCompare(q.name, undefined, { numeric: true }));
  page.order = rows.map(([, picture]) => picture.number);
  $("clear").hidden = !(narrowed || part || text || $("what").value !== "all");
  $("none").hidden = page.order.length > 0;
  $("none").textContent = page.pictures.length ? "No picture passes these filters." : page.state.watch ? `Waiting for pictures in ${page.state.watch}…` : "No pictures yet. Drop some anywhere on this page.";
  gallery.here = one.picture && !$("one").hidden ? page.order.indexOf(one.picture.number) : -1;
  gallery.layout();
  tally();
};

const tally = () => {
  let tp = 0, fp = 0, fn = 0, shown = 0, objects = 0, compared = 0, predicted = 0, unasked = 0;
  const by = page.state.classes.map(() => 0), part = $("part").value, anyFound = page.pictures.some((picture) => picture.predicted);
  for (const picture of page.pictures) {
    if (part && picture.part !== part) continue;
    const own = page.count(picture);
    tp += own.tp; fp += own.fp; fn += own.fn; shown += own.shown; objects += own.objects; compared += own.compared; predicted += picture.predicted;
    unasked += !picture.predicted && !picture.state;
    const labels = anyFound ? picture.found.label : picture.truth.label;
    for (let i = 0; i < labels.length; i++) if (!anyFound || picture.found.score[i] >= page.score) by[labels[i]]++;
  }
  const cell = (name, value, kind = "") => make("span", { className: kind }, `${name} `, make("b", { textContent: value }));
  const cells = [cell(page.order.length === page.pictures.length ? "Pictures" : "Shown", page.order.length === page.pictures.length ? page.pictures.length : `${page.order.length} of ${page.pictures.length}`)];
  if (compared) {
    const share = (a, b) => (b ? (a / b).toFixed(3) : "–");
    cells.push(cell("Right (TP)", tp, "tp"), cell("Too many (FP)", fp, "fp"), cell("Missed (FN)", fn, "fn"), cell("Precision", share(tp, tp + fp)), cell("Recall", share(tp, tp + fn)), cell("F1", share(2 * tp, 2 * tp + fp + fn)));
    if (compared < page.pictures.length) cells.push(cell("compared", `${compared}`));
  } else {
    if (objects) cells.push(cell("Annotations", objects));
    if (predicted) cells.push(cell("Predictions", shown));
  }
  const meanings = { both: [["truth", "truth"], ["prediction", "prediction"]], difference: [["tp", "right"], ["fp", "too much"], ["fn", "missed"]] }[page.layers];
  if (meanings && objects) cells.push(make("span", { className: "meanings" }, ...meanings.map(([colour, text]) => make("span", {}, Object.assign(make("i", { className: "dot" }), { style: `background:var(--${colour})` }), ` ${text} `))));
  if (!page.compared) cells.push(make("span", { className: "work", textContent: "comparing…" }));
  if (page.loading) cells.push(make("span", { className: "work", textContent: "loading the model…" }));
  // A picture without shapes might as well be one in which nothing was found.
  if (page.predicts && unasked) cells.push(make("span", { className: "work" }, `${unasked} ${unasked === 1 ? "picture" : "pictures"} not predicted yet `, make("button", { type: "button", className: "plain", textContent: "Predict all", onclick: predictAll })));
  if (page.waiting) cells.push(make("span", { className: "work", textContent: `${page.waiting} to predict` }));
  $("numbers").replaceChildren(...cells);
  legend(by);
};

const legend = (by) => {
  const { classes } = page.state;
  // Of three hundred classes those that are there are enough.
  const shown = classes.map((own, label) => [own, label]).filter(([, label]) => classes.length <= 12 || by[label] || page.label === label);
  $("legend").replaceChildren(...shown.map(([own, label]) => {
    const dot = make("span", { className: "dot" });
    dot.style.background = own.colour;
    const button = make("button", { type: "button", title: `Only ${own.name}`, onclick: () => narrow(page.label === label ? -1 : label) }, dot, own.name, make("span", { className: "quiet", textContent: by[label] }));
    button.setAttribute("aria-pressed", page.label === label);
    return make("li", {}, button);
  }));
};

const narrow = (label) => { page.label = label; $("class").value = label; arrange(); restyle(); };
const restyle = () => { gallery.restyle(); if (one.picture) one.restyle(); };
let later = 0;
const score = (value) => {
  page.score = Math.fround(Math.min(1, Math.max(0, value)));
  $("score").value = page.score;
  $("score-value").textContent = page.score.toFixed(2);
  restyle(); tally();
  // Which pictures pass and in which order follows when the slider rests.
  clearTimeout(later);
  later = setTimeout(arrange, 250);
};
const layers = (name) => {
  page.layers = name;
  for (const button of $("layers").children) { button.setAttribute("role", "radio"); button.setAttribute("aria-checked", button.dataset.layers === name); }
  gallery.repaint();
  if (one.picture) one.draw();
  tally();
};

// --- one picture

page.open = (number) => {
  const picture = page.pictures[number];
  if (!picture) return;
  $("one").hidden = false;
  $("gallery").hidden = true;
  one.show(picture);
  gallery.here = page.order.indexOf(number);
  history.replaceState(null, "", `#${number}`);
  $("stage").focus({ preventScroll: true });
  if (!picture.predicted && page.predicts && picture.state !== "failed") page.predict([number]);
  // The next one is there when it is asked for.
  const next = page.pictures[page.order[gallery.here + 1]];
  if (next) { new Image().src = `/picture/${next.number}?s=${page.state.token}`; page.objects.of(next); }
};
const back = () => {
  $("one").hidden = true;
  $("gallery").hidden = false;
  history.replaceState(null, "", location.pathname);
  one.picture = null; page.chosen = null;
  arrange();
  gallery.here = Math.min(gallery.here, page.order.length - 1);
  $("gallery").focus({ preventScroll: true });
};
const turn = (by) => {
  const at = gallery.here < 0 ? 0 : gallery.here + by;
  if (at >= 0 && at < page.order.length) { page.open(page.order[at]); gallery.here = at; }
};

// --- the server's news

const absorb = (answer) => {
  Object.assign(page, { version: answer.version, waiting: answer.waiting, loading: answer.loading, predicts: answer.predicts, compared: answer.compared });
  const changed = unpack(answer.pictures), fresh = changed.some((picture) => !page.pictures[picture.number]);
  for (const picture of changed) { page.pictures[picture.number] = picture; page.objects.forget(picture.number); page.tiles.forget(picture.number); }
  $("predict").hidden = !page.predicts;
  if (fresh) fillParts();
  return changed.map((picture) => picture.number);
};
let polling = 0;
const poll = async (soon = false) => {
  clearTimeout(polling);
  if (soon) { polling = setTimeout(poll, 150); return; }
  try {
    const news = await get(`/api/changes?since=${page.version}`);
    // Another server answers, whose numbers are of other pictures.
    if (news.token !== page.state.token) { location.reload(); return; }
    const before = page.pictures.length, numbers = absorb(news);
    if (numbers.length) {
      // While somebody looks at one picture the order of the others stays.
      if ($("one").hidden || page.pictures.length > before) { const here = one.picture; arrange(); if (here) gallery.here = page.order.indexOf(here.number); }
      gallery.repaint(numbers);
      if (one.picture && numbers.includes(one.picture.number)) { one.picture = page.pictures[one.picture.number]; one.draw(); }
    }
    tally();
    $("message").dataset.lost = "";
  } catch {
    if (!$("message").dataset.lost) { page.say("The server does not answer. Is tools/view.py still running?"); $("message").dataset.lost = "1"; }
  }
  polling = setTimeout(poll, page.waiting || !page.compared ? 700 : page.state.watch ? 1000 : 3000);
};

const upload = async (files) => {
  let last = -1;
  for (const file of files) {
    try {
      if (file.size > page.state.upload) throw new Error(`it has ${(file.size / 1048576).toFixed(0)} MB; ${page.state.upload / 1048576} are the most`);
      page.say(`${file.name}: being sent…`);
      last = (await (await send(`/api/drop?name=${encodeURIComponent(file.name)}`, file, { "Content-Type": "application/octet-stream" })).json()).number;
      $("message").hidden = true;
    } catch (error) { page.say(`${file.name}: ${error.message}`); }
  }
  if (last < 0) return;
  $("part").value = ""; $("what").value = "all"; $("search").value = ""; $("sort").value = "newest";
  absorb(await get(`/api/changes?since=${page.version}`));
  arrange();
  if (files.length === 1) page.open(last);
  poll(true);
};

const download = async () => {
  const choice = document.querySelector("#choices input:checked").value, format = $("format").value;
  try {
    const answer = await send("/api/export", { choice, format, score: page.score });
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"))[1];
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    $("save").close();
    page.say(`${name} is saved where the browser puts downloads.`);
  } catch (error) { $("save").close(); page.say(error.message); }
};

// --- keys

const switchTheme = () => {
  const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  kept.set("theme", root.dataset.theme);
};
const both = { "[": () => score(page.score - 0.05), "]": () => score(page.score + 0.05), o: () => { page.outlined = !page.outlined; layers(page.layers); }, e: () => $("save").showModal(), d: switchTheme, "?": () => $("keys").showModal(), "/": () => $("search").focus(), c: () => narrow(page.label + 1 < page.state.classes.length ? page.label + 1 : -1) };
["picture", "truth", "found", "difference", "both"].forEach((name, i) => { both[i + 1] = () => layers(name); });
const alone = {
  ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), j: () => one.step(1), k: () => one.step(-1), Escape: back, z: () => one.scale(1), f: () => one.scale(0), "+": () => one.scale(one.shown * 1.5), "=": () => one.scale(one.shown * 1.5), "-": () => one.scale(one.shown / 1.5),
  a: () => one.decide(page.chosen, { verdict: "accepted" }, true), r: () => one.decide(page.chosen, { verdict: "rejected" }, true), u: () => one.decide(page.chosen, { verdict: "" }),
  n: () => { if (!page.chosen) one.step(1); document.querySelector("#objects textarea")?.focus(); }, p: () => page.predict([one.picture.number]),
};
const among = { ArrowLeft: () => gallery.go(-1), ArrowRight: () => gallery.go(1), ArrowUp: () => gallery.go(-1, true), ArrowDown: () => gallery.go(1, true), j: () => gallery.go(1), k: () => gallery.go(-1), Enter: () => { if (gallery.here >= 0) page.open(page.order[gallery.here]); } };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const field = event.target.closest?.("input:not([type=range]):not([type=radio]),textarea,select");
  if (field) { if (event.key === "Escape" || (event.key === "Enter" && field.type === "search")) field.blur(); return; }
  if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
  if (event.key === "Enter" && event.target.closest?.("button")) return;
  const act = ($("one").hidden ? among : alone)[event.key] || both[event.key];
  if (act) { event.preventDefault(); act(); }
});

// --- the beginning

const options = (id, entries) => $(id).replaceChildren(...entries.map(([value, textContent]) => make("option", { value, textContent })));
const fillParts = () => {
  const parts = [...new Set(page.pictures.map((picture) => picture.part))], now = $("part").value;
  options("part", [["", "All parts"], ...parts.map((part) => [part, part])]);
  $("part").value = parts.includes(now) ? now : "";
  $("part").hidden = parts.length < 2;
};
const CHOICES = { accepted: "Accepted objects of the pictures that were decided on", predictions: "Predictions of the present score, but rejected ones", labels: "Annotations, but rejected ones, and accepted predictions" };
const begin = async () => {
  const theme = kept.get("theme", "");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  const [state, index] = await Promise.all([get("/api/state"), get("/api/index")]);
  page.state = state;
  options("what", Object.entries(WHAT).map(([key, [name]]) => [key, name]));
  options("sort", Object.entries(SORT).map(([key, [name]]) => [key, name]));
  options("class", [[-1, "All classes"], ...state.classes.map(({ name }, label) => [label, name])]);
  options("format", state.formats.map((name) => [name, { csv: "CSV table of measurements", coco: "COCO JSON", cvat: "CVAT", label_studio: "Label Studio", labelme: "LabelMe", yolo_seg: "YOLO", masks: "Index PNGs", kaggle: "Kaggle's CSV of run lengths" }[name] || name]));
  $("choices").append(...state.choices.map((choice, i) => make("label", {}, make("input", { type: "radio", name: "choice", value: choice, checked: !i }), ` ${CHOICES[choice]}`)));
  $("keylist").append(...KEYS.flatMap(([keys, text]) => [make("dt", {}, ...keys.split(" ").flatMap((key) => [make("kbd", { textContent: key }), " "])), make("dd", { textContent: text })]));
  $("unit").textContent = state.mm ? "mm²" : "px²";
  if (state.watch) $("sort").value = "newest";
  absorb(index);
  fillParts();
  const predicted = page.pictures.some((picture) => picture.predicted), annotated = page.pictures.some((picture) => picture.annotated);
  gallery.wide = +kept.get("tiles", 300);
  $("tiles").value = gallery.wide;
  score(state.score);
  layers(annotated && !predicted ? "truth" : "found");
  clearTimeout(later);
  arrange();
  if (/^#\d+$/.test(location.hash)) page.open(+location.hash.slice(1));
  else $("gallery").focus({ preventScroll: true });
  document.documentElement.dataset.ready = "1";
  poll(true);
};

$("score").oninput = () => score(+$("score").value);
$("layers").onclick = (event) => { if (event.target.dataset.layers) layers(event.target.dataset.layers); };
["what", "part", "sort"].forEach((id) => { $(id).onchange = () => { $("gallery").scrollTop = 0; arrange(); }; });
$("filter").onclick = () => document.body.classList.toggle("filtering");
$("class").onchange = () => narrow(+$("class").value);
$("search").oninput = arrange;
["least", "most"].forEach((id) => { $(id).oninput = () => {
  const area = page.state.mm ? page.state.mm ** 2 : 1;
  page.least = (+$("least").value || 0) / area; page.most = $("most").value === "" ? Infinity : +$("most").value / area;
  arrange(); restyle();
}; });
$("clear").onclick = () => { ["search", "least", "most"].forEach((id) => { $(id).value = ""; }); $("what").value = "all"; $("part").value = ""; page.least = 0; page.most = Infinity; narrow(-1); };
$("tiles").oninput = () => { gallery.wide = +$("tiles").value; kept.set("tiles", gallery.wide); gallery.layout(); };
$("back").onclick = back; $("previous").onclick = () => turn(-1); $("next").onclick = () => turn(1);
$("theme").onclick = switchTheme; $("help").onclick = () => $("keys").showModal(); $("export").onclick = () => $("save").showModal(); $("download").onclick = download;
$("pick").onclick = () => $("files").click();
$("files").onchange = () => { upload([...$("files").files]); $("files").value = ""; };
$("predict").onclick = predictAll;
// After a click keys are for the pictures again; who tabs stays where he is.
document.querySelector(".bar").addEventListener("click", (event) => {
  if (event.detail && event.target.closest("button") && !document.querySelector("dialog[open]")) $($("one").hidden ? "gallery" : "stage").focus({ preventScroll: true });
});
let over = 0;
addEventListener("dragenter", (event) => { if (event.dataTransfer?.types.includes("Files")) { over++; $("veil").hidden = false; } });
addEventListener("dragleave", () => { over = Math.max(0, over - 1); if (!over) $("veil").hidden = true; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); over = 0; $("veil").hidden = true; upload([...(event.dataTransfer?.files || [])]); });
begin().catch((error) => page.say(error.message));
