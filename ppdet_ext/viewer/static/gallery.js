// All pictures as tiles, of which only those in sight are elements: twelve thousand scroll as twelve do.
import { drawObjects, make, restyle } from "./picture.js";

const GAP = 10, FOOT = 25, MARGIN = 600; // px; the margin is filled beyond the window's edges

export class Gallery {
  constructor(page, element, sheet) {
    this.page = page; this.element = element; this.sheet = sheet; this.tiles = new Map(); this.free = []; this.wide = 300; this.here = -1; this.frame = 0;
    element.addEventListener("scroll", () => { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.fill(); }); }, { passive: true });
    new ResizeObserver(() => this.layout()).observe(element);
  }

  // Sizes from the pictures' usual shape, so that strips get strips.
  layout() {
    const { element, page } = this, room = element.clientWidth - 2 * GAP;
    if (room <= 0) return;
    const shapes = page.order.slice(0, 500).map((number) => page.pictures[number].width / page.pictures[number].height).sort((a, b) => a - b);
    const shape = Math.min(8, Math.max(0.6, shapes[shapes.length >> 1] || 1.4));
    const wanted = this.wide * (shape > 2.5 ? 1.7 : 1);
    this.columns = Math.max(1, Math.round(room / (wanted + GAP)));
    this.width = (room - (this.columns - 1) * GAP) / this.columns;
    this.height = this.width / shape + FOOT;
    this.step = this.height + GAP;
    this.sheet.style.height = `${Math.ceil(page.order.length / this.columns) * this.step + GAP}px`;
    this.fill(true);
  }

  // Tiles for what is in sight; those that are not any more are used again.
  fill(moved = false) {
    const { element, page } = this;
    if (!this.step) return;
    const first = Math.max(0, Math.floor((element.scrollTop - MARGIN) / this.step)) * this.columns;
    const last = Math.min(page.order.length, Math.ceil((element.scrollTop + element.clientHeight + MARGIN) / this.step) * this.columns);
    const wanted = new Map();
    for (let at = first; at < last; at++) wanted.set(page.order[at], at);
    for (const [number, tile] of this.tiles) {
      if (wanted.has(number)) continue;
      this.tiles.delete(number); this.free.push(tile); tile.hidden = true;
    }
    for (const [number, at] of wanted) {
      let tile = this.tiles.get(number);
      const fresh = !tile;
      if (fresh) { tile = this.free.pop() || this.blank(); this.tiles.set(number, tile); tile.hidden = false; this.give(tile, page.pictures[number]); }
      if (fresh || moved || tile.at !== at) this.put(tile, at);
      tile.classList.toggle("here", at === this.here);
    }
  }

  blank() {
    const image = make("img", { alt: "", decoding: "async" }), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
    const state = make("span", { className: "state" });
    const foot = make("footer"), tile = make("div", { className: "tile-picture" }, make("div", { className: "shot-of" }, image, svg, state), foot);
    Object.assign(tile, { image, svg, state, foot });
    image.addEventListener("error", () => { state.hidden = false; state.textContent = "cannot be read"; });
    tile.addEventListener("click", () => this.page.open(tile.picture.number));
    this.sheet.append(tile);
    return tile;
  }

  put(tile, at) {
    tile.at = at;
    const column = at % this.columns, row = Math.floor(at / this.columns);
    tile.style.cssText = `left:${GAP + column * (this.width + GAP)}px;top:${GAP + row * this.step}px;width:${this.width}px;height:${this.height}px`;
  }

  give(tile, picture) {
    tile.picture = picture;
    tile.image.src = `/thumb/${picture.number}?s=${this.page.state.token}`;
    tile.image.alt = picture.name;
    tile.title = picture.name;
    this.paint(tile);
  }

  paint(tile) {
    const { page } = this, { picture } = tile;
    const own = page.layers === "picture" ? null : page.tiles.of(picture, page.score);
    tile.own = own;
    drawObjects(tile.svg, picture, own, page);
    this.foot(tile);
  }

  foot(tile) {
    const { picture } = tile, { tp, fp, fn, shown, objects, compared } = this.page.count(picture);
    const { page } = this, [accepted, rejected, notes] = picture.decided;
    const badge = (text, kind, title) => make("span", { className: `badge ${kind}`, textContent: text, title });
    const badges = compared
      ? [badge(`${tp}✓`, "right", "right"), fp ? badge(`${fp}+`, "wrong", "too many") : "", fn ? badge(`${fn}−`, "missed", "missed") : ""]
      : [picture.predicted ? badge(String(shown), "", "predictions") : picture.annotated ? badge(String(objects), "", "annotations") : page.predicts && !picture.state ? badge("?", "", "not predicted yet") : ""];
    const decided = [accepted ? `${accepted} accepted` : "", rejected ? `${rejected} rejected` : "", notes ? "✎" : ""].filter(Boolean).join(", ");
    tile.foot.replaceChildren(make("span", { className: "called", textContent: picture.name }), ...(decided ? [badge(decided, "", decided)] : []), ...badges.filter(Boolean));
    tile.state.hidden = !picture.state;
    tile.state.textContent = { waiting: "waits", running: "being predicted", failed: "failed" }[picture.state] || "";
  }

  // After the slider: masks are hidden or shown, numbers are written anew, nothing is drawn anew.
  restyle() {
    for (const tile of this.tiles.values()) {
      // Below what is known more is fetched, and drawn when it comes.
      if (tile.own?.least > this.page.score) this.page.tiles.of(tile.picture, this.page.score);
      if (tile.own) restyle(tile.svg, tile.own, this.page);
      this.foot(tile);
    }
  }

  repaint(numbers) {
    if (!numbers) { for (const tile of this.tiles.values()) this.paint(tile); return; }
    for (const number of numbers) {
      const tile = this.tiles.get(number);
      if (tile) { tile.picture = this.page.pictures[number]; this.paint(tile); }
    }
  }

  go(by, rows = false) {
    const step = rows ? by * this.columns : by;
    this.here = Math.min(this.page.order.length - 1, Math.max(0, this.here < 0 ? 0 : this.here + step));
    this.reveal();
    this.fill();
  }

  reveal() {
    if (this.here < 0 || !this.step) return;
    const top = Math.floor(this.here / this.columns) * this.step, { element } = this;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + this.step + GAP > element.scrollTop + element.clientHeight) element.scrollTop = top + this.step + GAP - element.clientHeight;
  }
}
