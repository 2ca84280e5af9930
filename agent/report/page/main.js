// Draws the page from its data, and again when there is news.

const data = JSON.parse(byId("data").textContent);
const sought = { text: "", outcome: "", category: "" };
let chosen = [];

try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a file may have no storage */ }

const open = trials(data, () => chosen.length ? chosen : data.rows);

function is_sought(row) {
  const text = `${row.trial} ${row.category} ${row.title} ${row.hypothesis} ${row.words}`.toLowerCase();
  return (!sought.outcome || row.outcome === sought.outcome)
    && (!sought.category || row.credited === sought.category)
    && (!sought.text || text.includes(sought.text.toLowerCase()));
}

function row_of(row) {
  return h("tr", { class: row.outcome },
    h("td", { class: "number" }, row.trial),
    h("td", { class: "verdict" }, `${MARKS[row.outcome]} ${row.outcome}`),
    h("td", {}, row.category),
    h("td", {}, h("button", { type: "button", class: "link", "data-open": row.trial },
      row.title || row.words || `trial ${row.trial}`)),
    h("td", { class: "number" }, within(row.score, row.score_half) || row.status || "not trained"),
    h("td", { class: "number" }, signed(row.gain)),
    h("td", {}, row.words),
    h("td", { class: "number" }, clock(row.seconds)),
    h("td", {}, h("code", {}, row.commit.slice(0, 7))));
}

function draw_rows() {
  chosen = data.rows.filter(is_sought);
  const focused = document.activeElement.getAttribute("data-open");
  byId("rows").replaceChildren(...chosen.map(row_of));
  const again = focused && byId("rows").querySelector(`[data-open="${focused}"]`);
  if (again) again.focus({ preventScroll: true });
  byId("count").textContent = `${chosen.length} of ${data.rows.length} trials`;
}

function draw_filters() {
  const choose = (id, label, values) => {
    const select = h("select", { id }, h("option", { value: "" }, `any ${label}`),
      values.map((value) => h("option", { value, selected: value === sought[id] }, value)));
    select.addEventListener("change", () => {
      sought[id] = select.value;
      draw_rows();
    });
    return [h("label", { for: id }, label), select];
  };
  const values = (name) => [...new Set(data.rows.map((row) => row[name]))].sort();
  const [outcomes, categories] = [values("outcome"), values("credited")];
  part("filters", [outcomes, categories], () => [
    choose("outcome", "verdict", outcomes), choose("category", "category", categories)]);
}

function trials_section() {
  const search = h("input", { type: "search", id: "search" });
  search.addEventListener("input", () => {
    sought.text = search.value;
    draw_rows();
  });
  const heads = ["trial", "verdict", "category", "what", "val_bpb", "gain", "why", "time", "commit"];
  const body = h("tbody", { id: "rows" });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("[data-open]");
    const number = button ? button : event.target.closest("tr").querySelector("[data-open]");
    open(Number(number.getAttribute("data-open")));
  });
  body.addEventListener("keydown", (event) => {
    const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const row = by && event.target.closest("tr")[by];
    if (!row) return;
    row.querySelector("[data-open]").focus();
    event.preventDefault();
  });
  return section("trials", "Trials",
    h("div", { class: "bar" }, h("label", { for: "search" }, "search"), search,
      h("span", { id: "filters", class: "bar" }), h("span", { id: "count", role: "status" })),
    h("div", { class: "wide" }, h("table", { class: "trials" },
      h("caption", { class: "unseen" }, "every trial; arrow keys go up and down, Enter opens one"),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), body)));
}

const drawn = new Map();

/** Draw a part if it is another than before: what has the focus, or is read aloud, stays. */
function part(id, told, make) {
  const text = JSON.stringify(told);
  if (drawn.get(id) === text) return;
  drawn.set(id, text);
  show(byId(id), make());
}

function draw(hasNewRows) {
  const { view, more: told } = data;
  part("head", [view.run, data.recorded], () => heading(data));
  part("top-found", [view.found, view.run], () => found_of(view));
  part("story", view.found, () => story(view, open));
  part("top-belief", [view.belief, view.found], () => belief_of(view));
  part("top-now", [view.now, view.pace, view.cost], () => now_of(view));
  part("top-next", view.next, () => next_of(view));
  part("rest", [view.prior, told], () => [prior_of(view, told.without_ideas), rest_of(data)]);
  if (!hasNewRows) return;
  const noise = view.belief.noise.structure || 0;
  const picture = progress(data.rows, told.scale, noise, view.found.cost_name, open);
  show(byId("picture"), section("progress", "Progress", picture, h("p", { class: "quiet" },
    "● kept, on the line of champions; ○ reverted; × failed; | rejected before training; ◌ null trial; "
    + "▲ off the scale. The band is the noise of a difference; champions are chained by their gains.")));
  draw_filters();
  draw_rows();
}

const place = (id) => h("div", { id });
fill(byId("main"), {}, [
  place("top-found"), place("picture"), place("top-belief"), place("top-now"), place("top-next"),
  data.live && controls(data), place("story"), trials_section(), place("rest"),
]);
draw(true);
if (data.live) listen(data, draw);
document.documentElement.dataset.drawn = "yes";
