"use strict";
// The page is complete without this: it sorts tables and shows values under the pointer.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.querySelectorAll("thead th")];
  if (!body || body.rows.length < 2) continue;
  heads.forEach((head, column) => {
    if (head.classList.contains("nosort") || !head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const key = (row) => {
      const cell = row.cells[column], given = cell.dataset.sort ?? cell.textContent;
      const number = Number(given.replace(/,/g, ""));
      return given.trim() === "" || Number.isNaN(number) ? given : number;
    };
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending", side = up ? 1 : -1;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      [...body.rows]
        .map((row) => [key(row), row])
        .sort(([x], [y]) =>
          side * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))))
        .forEach(([, row]) => body.append(row));
    });
  });
}
const tip = document.getElementById("tip"), rules = [];
const say = (value, unit) => {
  if (value === null) return "–";
  if (unit !== "ms") return String(value) + unit;
  return value >= 1000 ? (value / 1000).toPrecision(3).replace(/\.?0+$/, "") + " s" : Number(value.toPrecision(3)) + " ms";
};
const clock = (s) => {
  const t = Math.abs(Math.round(s)), pad = (n) => String(n).padStart(2, "0"), m = Math.floor(t / 60);
  return (s < -0.5 ? "−" : "") + (m < 60 ? m + ":" : Math.floor(m / 60) + ":" + pad(m % 60) + ":") + pad(t % 60);
};
for (const figure of document.querySelectorAll("figure[data-hover]")) {
  const data = JSON.parse(figure.dataset.hover), rule = document.createElement("i");
  rule.className = "rule";
  rule.hidden = true;
  figure.append(rule);
  // All figures over time share one axis, and so the rule; the one over response times has its own.
  rules.push((share, svgOf, log) => {
    rule.hidden = share === null || !log !== !data.log;
    if (rule.hidden) return;
    const box = svgOf(figure), home = figure.getBoundingClientRect();
    rule.style.left = box.left - home.left + box.width * (data.left + share * (box.view - data.left - data.right)) / box.view + "px";
  });
  const boxOf = (f) => {
    const svg = [...f.querySelectorAll("svg.drawn")].find((s) => s.getBoundingClientRect().width > 0);
    const r = svg.getBoundingClientRect();
    return { left: r.left, width: r.width, view: svg.viewBox.baseVal.width };
  };
  figure.addEventListener("pointermove", (e) => {
    const box = boxOf(figure), x = (e.clientX - box.left) / box.width * box.view;
    const share = (x - data.left) / (box.view - data.left - data.right);
    if (share < 0 || share > 1) return leave();
    const t = data.from + share * (data.to - data.from), bucket = Math.floor((t - data.begin) / data.step);
    tip.replaceChildren(Object.assign(document.createElement("b"), { textContent: data.log ? "≤ " + say(1000 * 10 ** (data.begin + bucket * data.step), "ms") : clock(data.begin + bucket * data.step) }));
    for (const [key, values] of Object.entries(data.rows)) {
      const [name, unit = ""] = key.split("|"), line = document.createElement("div");
      line.append(name, Object.assign(document.createElement("span"), { textContent: say(values[bucket] ?? null, unit) }));
      tip.append(line);
    }
    tip.hidden = false;
    tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
    rules.forEach((show) => show(share, boxOf, data.log));
  });
  const leave = () => { tip.hidden = true; rules.forEach((show) => show(null)); };
  figure.addEventListener("pointerleave", leave);
}
