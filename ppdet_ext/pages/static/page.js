(() => {
  "use strict";
  const root = document.documentElement;
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const kept = {
    // Pages from file:// may have no storage.
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* it holds for this page alone */ } },
  };

  // Theme: the system's, until the switch says otherwise.
  const theme = kept.get("ppdet-ext-theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  const switchTheme = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept.set("ppdet-ext-theme", root.dataset.theme);
  };
  document.getElementById("theme")?.addEventListener("click", switchTheme);

  // Tables: a heading's button sorts, numbers first from great to small; what is unknown stays last.
  const sortBy = (heading) => {
    const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
    const numbers = heading.classList.contains("number");
    const now = heading.getAttribute("aria-sort");
    const down = now ? now === "ascending" : numbers;
    $$("th[aria-sort]", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      if (!numbers) return cell.textContent.trim();
      return cell.dataset.v === "" || cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  };
  $$("table.sortable thead button").forEach((button) => button.addEventListener("click", () => sortBy(button.closest("th"))));

  // Lines: the values under the pointer, at each line's nearest point.
  const NS = "http://www.w3.org/2000/svg";
  const reading = document.createElement("div");
  reading.className = "reading";
  reading.hidden = true;
  document.body.append(reading);
  const nearest = (places, x) => {
    let low = 0, high = places.length - 1;
    const rising = places[high] >= places[low];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((places[middle] < x) === rising) low = middle; else high = middle;
    }
    return Math.abs(places[low] - x) <= Math.abs(places[high] - x) ? low : high;
  };
  $$("svg[data-lines]").forEach((chart) => {
    const { edges: [left, right, top, bottom], lines, x: axis } = JSON.parse(chart.dataset.lines);
    const cursor = document.createElementNS(NS, "path");
    cursor.setAttribute("class", "cursor");
    const hide = () => { reading.hidden = true; cursor.remove(); };
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("pointermove", (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
      if (place.x < left - 4 || place.x > right + 4 || place.y > bottom + 4) return hide();
      const found = lines.map(([name, colour, xs, ys, said, texts]) => {
        const places = xs || lines[0][2], i = nearest(places, place.x);
        return { name, colour, x: places[i], y: ys[i], said: (said || lines[0][4])[i], text: texts[i] };
      });
      const main = found.reduce((a, b) => (Math.abs(b.x - place.x) < Math.abs(a.x - place.x) ? b : a));
      cursor.setAttribute("d", `M${main.x} ${top}V${bottom}`);
      chart.append(cursor);
      reading.replaceChildren(Object.assign(document.createElement("div"), { className: "quiet", textContent: `${axis} ${main.said}` }));
      found.filter((one) => Math.abs(one.x - main.x) < 12).forEach((one) => {
        const row = document.createElement("div"), dot = document.createElement("i"), value = document.createElement("b");
        dot.style.background = one.colour;
        value.textContent = one.text;
        row.append(value, dot, one.name);
        reading.append(row);
      });
      reading.hidden = false;
      const box = reading.getBoundingClientRect();
      reading.style.left = `${Math.min(event.clientX + 16, innerWidth - box.width - 8)}px`;
      reading.style.top = `${Math.max(8, Math.min(event.clientY + 16, innerHeight - box.height - 8))}px`;
    });
  });

  // Layers: boxes with data-layer hide their layer within the section; a click on a picture makes it large.
  const layers = $$("input[data-layer]");
  layers.forEach((box) => {
    const apply = () => box.closest("section").classList.toggle(`no-${box.dataset.layer}`, !box.checked);
    box.addEventListener("change", apply);
    apply();
  });
  document.addEventListener("click", (event) => event.target.closest?.("svg.picture")?.closest(".panels").classList.toggle("large"));

  // Keys: d for the theme, and those that boxes name.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=checkbox]),textarea,select")) return;
    if (event.key === "d") switchTheme();
    // A key means the same layer in every section.
    const boxes = layers.filter((one) => one.dataset.key === event.key), on = !boxes[0]?.checked;
    boxes.forEach((box) => { box.checked = on; box.dispatchEvent(new Event("change")); });
  });

  // Contents: where the reader is.
  const links = new Map($$(".toc a").map((link) => [link.hash.slice(1), link]));
  if (links.size && "IntersectionObserver" in window) {
    const seen = new Set();
    const watch = new IntersectionObserver((entries) => {
      entries.forEach((entry) => (entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id)));
      const first = [...links.keys()].find((id) => seen.has(id));
      if (first) links.forEach((link, id) => link.classList.toggle("here", id === first));
    }, { rootMargin: "-70px 0px -55% 0px" });
    $$("section[id]").forEach((section) => watch.observe(section));
  }

  // A link into something closed opens it.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1)), closed = target?.closest("details:not([open])");
    if (closed) { closed.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();

  // On paper everything is open.
  addEventListener("beforeprint", () => $$("details:not([open])").forEach((one) => { one.open = true; one.dataset.printed = ""; }));
  addEventListener("afterprint", () => $$("details[data-printed]").forEach((one) => { one.open = false; delete one.dataset.printed; }));
})();
