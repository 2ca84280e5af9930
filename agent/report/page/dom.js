// Elements are made here and only here. Every text becomes a text node: nothing is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const MARKS = {
  kept: "●", reverted: "○", failed: "×", rejected: "·", null: "◌", open: "?",
};
const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    } else if (name === "width%") {
      element.style.width = `${value}%`;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false && child !== "") {
      element.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
  }
  return element;
}

const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function show(place, ...children) {
  place.replaceChildren();
  fill(place, {}, children);
}

/** Tell people who listen to the page. */
function say(text) {
  byId("said").textContent = text;
}

function signed(value, digits = 4) {
  if (value === null || value === undefined) return "";
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "-" : "+") + text;
}

const known = (value) => value !== null && value !== undefined;
const within = (value, half, digits = 4) =>
  !known(value) ? "" : value.toFixed(digits) + (half ? ` ± ${half.toFixed(digits)}` : "");
const percent = (value) => `${Math.round(100 * value)} %`;

function clock(seconds) {
  const all = Math.round(Math.max(0, seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A table whose columns are headed; each cell is a text or an element. */
function table(heads, rows, caption) {
  const wide = { class: "wide", tabindex: 0, role: "region", "aria-label": caption };
  return h("div", wide, h("table", {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

/** A section with its heading, by which it is a landmark; null if there is nothing in it. */
function section(id, title, ...children) {
  const inside = children.flat(3).filter((child) => known(child) && child !== "" && child !== false);
  if (!inside.length) return null;
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title), inside);
}

const more = (title, ...children) => h("details", {}, h("summary", {}, title), children);
const pre = (text) => h("pre", { tabindex: 0 }, text);

/** Label and text, for what is a list of both. */
const pairs = (list) => h("dl", {}, list.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));

/** A diff in colour; the signs stay in the text, so it can be read without. */
function diff(text) {
  const kinds = { "+": "add", "-": "del", "@": "hunk" };
  const lines = text.replace(/\n$/, "").split("\n").map((line) => {
    const isHead = /^(\+\+\+|---|diff |index )/.test(line);
    return h("span", { class: isHead ? "hunk" : kinds[line[0]] || "same" }, line || " ");
  });
  return h("pre", { class: "diff", tabindex: 0, "aria-label": "diff: + added, - removed" }, lines);
}
