// The progress chart, and small lines of curves.

const WIDE = 960, HIGH = 380, LEFT = 64, RIGHT = 16, TOP = 18, BOTTOM = 44;

/** Round steps for an axis, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) || rough;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-9; at += step) found.push(at);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

/** Every trial by its number, or, where some were under way side by side, in the order in which
    they ended; kept ones as a step line within the noise of a difference. */
function progress(rows, scale, noise, name, open) {
  const numbered = rows.every((row, i) => !i || row.trial > rows[i - 1].trial);
  const places = new Map(rows.map((row, i) => [row, numbered ? row.trial : i]));
  const last = Math.max(4, ...places.values());
  const placed = rows.filter((row) => row.cost);
  if (!scale || !placed.length) return h("p", {}, "Nothing is measured yet.");
  const span = Math.max(scale[1] - scale[0], 1e-4);
  const [low, high] = [scale[0] - 0.15 * span, scale[1] + 0.15 * span];
  const x = (n) => LEFT + ((WIDE - LEFT - RIGHT) * (n + 0.5)) / (last + 1.5);
  const y = (v) => TOP + ((HIGH - TOP - BOTTOM) * (high - Math.min(high, Math.max(low, v)))) / (high - low);
  const kept = placed.filter((row) => row.outcome === "kept");
  const picture = s("svg", {
    viewBox: `0 0 ${WIDE} ${HIGH}`, tabindex: 0, role: "group", id: "chart",
    "aria-label": `${name} of ${rows.length} trials, ${Math.max(0, kept.length - 1)} kept; `
      + "left and right arrow keys go through them, Enter opens one; the table of trials says the same",
  });
  const axis = ticks(low, high, 5);
  for (const value of axis.found) {
    picture.append(
      s("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(axis.digits)));
  }
  for (const n of ticks(0, last, 10).found.filter(Number.isInteger)) {
    picture.append(s("text", { class: "tick", x: x(n), y: HIGH - BOTTOM + 18, "text-anchor": "middle" }, n));
  }
  picture.append(
    s("text", { class: "tick", x: WIDE - RIGHT, y: HIGH - 6, "text-anchor": "end" },
      numbered ? "trial" : "trials, as they ended"),
    s("text", { class: "tick", x: LEFT, y: HIGH - 6 }, `${name}, bits per byte, lower is better`));
  if (kept.length) {
    const steps = [], band = [[], []];
    kept.forEach((row, i) => {
      const value = row.cost.mean, end = i + 1 < kept.length ? places.get(kept[i + 1]) : last + 0.5;
      for (const n of [places.get(row), end]) {
        steps.push(`${x(n)},${y(value)}`);
        band[0].push(`${x(n)},${y(value - noise)}`);
        band[1].unshift(`${x(n)},${y(value + noise)}`);
      }
    });
    picture.append(
      s("polygon", { class: "band", points: [...band[0], ...band[1]].join(" ") }),
      s("polyline", { class: "steps", points: steps.join(" ") }));
  }
  const points = rows.map((row) => point(row, x(places.get(row)), row.cost ? y(row.cost.mean) : null, high));
  const cursor = s("circle", { class: "cursor", r: 10, cx: -99, cy: -99 });
  picture.append(...points.map((one) => one.mark), cursor);
  const tip = h("div", { class: "tip", hidden: true });
  let at = -1;
  const point_at = (event) => {
    const node = event.target.closest && event.target.closest("[data-trial]");
    return node ? points.findIndex((one) => one.row.trial === Number(node.getAttribute("data-trial"))) : -1;
  };
  const look = (index, aloud) => {
    at = index;
    const one = points[index];
    tip.hidden = !one;
    cursor.setAttribute("cx", one ? one.x : -99);
    cursor.setAttribute("cy", one ? one.y : -99);
    if (!one) return;
    const { row } = one;
    show(tip, h("b", {}, `${MARKS[row.outcome]} trial ${row.trial}, ${row.category}: ${row.title}`),
      row.hypothesis && h("p", {}, row.hypothesis), h("p", { class: row.outcome }, row.words));
    tip.style.left = `${Math.min(72, (100 * one.x) / WIDE)}%`;
    tip.style.top = `${(100 * one.y) / HIGH + 3}%`;
    if (aloud) say(`trial ${row.trial}, ${row.outcome}: ${row.title}. ${row.words}`);
  };
  picture.addEventListener("mouseover", (event) => look(point_at(event), false));
  picture.addEventListener("mouseleave", () => look(-1, false));
  picture.addEventListener("blur", () => look(-1, false));
  picture.addEventListener("click", (event) => {
    const index = point_at(event);
    if (index >= 0) open(points[index].row.trial);
  });
  picture.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) look(Math.min(points.length - 1, Math.max(0, at + by)), true);
    else if (event.key === "Home" || event.key === "End") look(event.key === "Home" ? 0 : points.length - 1, true);
    else if (event.key === "Enter" && at >= 0) open(points[at].row.trial);
    else if (event.key === "Escape") look(-1, false);
    else return;
    event.preventDefault();
  });
  return h("div", { class: "chart" }, picture, tip);
}

/** One trial's mark: its shape says how it ended, its colour says it again. */
function point(row, x, y, high) {
  const isFar = row.cost && row.cost.mean > high;
  const place = y === null ? HIGH - BOTTOM - 8 : isFar ? TOP + 4 : y;
  const attributes = { class: `mark ${row.outcome}`, "data-trial": row.trial };
  const cross = `M${x - 4} ${place - 4}l8 8m0 -8l-8 8`;
  const shapes = {
    kept: () => s("circle", { ...attributes, cx: x, cy: place, r: 6 }),
    reverted: () => s("circle", { ...attributes, cx: x, cy: place, r: 4 }),
    failed: () => s("path", { ...attributes, d: cross }),
    rejected: () => s("path", { ...attributes, d: `M${x} ${place - 4}v8` }),
    null: () => s("circle", { ...attributes, cx: x, cy: place, r: 4 }),
  };
  const far = () => s("path", { ...attributes, d: `M${x} ${place - 5}l5 9h-10z` });
  return { row, x, y: place, mark: (isFar ? far : shapes[row.outcome] || shapes.rejected)() };
}

/** Curves of champion and candidate over the budget. `sides`: by name, [share, loss] pairs. */
function curves(sides, label) {
  const all = Object.values(sides).flat().filter(([, loss]) => known(loss));
  if (!all.length) return null;
  const [wide, high] = [440, 150];
  const losses = all.map(([, loss]) => loss).sort((a, b) => a - b);
  const low = losses[0], top = losses[Math.min(losses.length - 1, Math.ceil(losses.length * 0.9))];
  const y = (v) => 8 + ((high - 30) * (top - Math.min(top, v))) / Math.max(top - low, 1e-6);
  const x = (share) => 48 + (wide - 56) * share;
  const lines = Object.entries(sides).map(([side, points]) => s("polyline", {
    class: `curve ${side}`,
    points: points.filter(([, loss]) => known(loss)).map(([share, loss]) => `${x(share)},${y(loss)}`).join(" "),
  }));
  const text = (attributes, words) => s("text", { class: "tick", ...attributes }, words);
  return h("figure", {},
    s("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label, class: "small" },
      text({ x: 2, y: y(top) + 8 }, top.toFixed(3)), text({ x: 2, y: y(low) }, low.toFixed(3)),
      text({ x: 48, y: high - 4 }, "0 %"), text({ x: wide - 8, y: high - 4, "text-anchor": "end" }, "budget"),
      lines),
    h("figcaption", {}, h("span", { class: "key champion" }, "– – champion"), " ",
      h("span", { class: "key candidate" }, "—— candidate"), " training loss, bits per byte"));
}

const by_parts = (losses) => losses.map((loss, i) => [(i + 1) / losses.length, loss]);

/** A category's share over the trials, as a line. */
function spark(values, top, label) {
  if (values.length < 2) return h("span");
  const points = values.map((v, i) => `${(120 * i) / (values.length - 1)},${22 - (20 * v) / top}`);
  return s("svg", { viewBox: "0 0 120 24", class: "spark", role: "img", "aria-label": label },
    s("polyline", { class: "curve candidate", points: points.join(" ") }));
}
