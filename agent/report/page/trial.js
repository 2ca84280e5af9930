// One trial, opened over the page. Arrow keys go to the next one, Escape closes it.

const lines_of = (text) => text.match(/[^\n]*\n|[^\n]+$/g) || [];

/** The prompts of a trial: each is stored as what differs from the one before it. */
function prompts_of(stored, trial) {
  const found = [];
  let before = [];
  for (const [number, name, parts] of stored.kept) {
    const text = parts.map((part) =>
      typeof part === "string" ? part : before.slice(part[0], part[1]).join("")).join("");
    before = lines_of(text);
    if (number === trial) found.push([name, text]);
    else if (number > trial) break;
  }
  return found;
}

async function details_of(data, trial) {
  if (data.live) {
    const answer = await fetch(`trial/${trial}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }
  const found = data.details[trial];
  return found && { ...found, prompts: prompts_of(data.prompts, trial), older: data.prompts.older[trial] };
}

function heat_of(heat) {
  const label = `training loss in heat ${heat.number}, champion and candidate`;
  const sides = { champion: by_parts(heat.champion), candidate: by_parts(heat.candidate) };
  const rows = heat.candidate.map((loss, i) => [
    percent((i + 1) / heat.candidate.length), known(heat.champion[i]) ? heat.champion[i] : "",
    known(loss) ? loss : ""]);
  const drawn = curves(sides, label);
  return h("div", {}, h("p", {}, `Heat ${heat.number}: ${heat.words}`), drawn,
    drawn && more("the curves as a table", table(["budget", "champion", "candidate"], rows, label)));
}

function inside(row, found, tag) {
  if (!found) {
    return h("p", {}, "There was no room for its details in this file: ",
      h("code", {}, `python -m agent show ${row.trial} --tag ${tag}`));
  }
  const heads = ["heat", "role", "seed", "status", "val_bpb", "steps", "memory", "time", "why"];
  const texts = (list) => list.map(([name, text]) => more(name, pre(text)));
  return [
    pairs(found.facts),
    found.turned_down.map((reason) => h("p", { class: "rejected" }, `turned down: ${reason}`)),
    found.diff && [h("h3", {}, "Diff"), diff(found.diff)],
    found.heats.length > 0 && [h("h3", {}, "Paired curves"), found.heats.map(heat_of)],
    found.trainings.length > 0 && [h("h3", {}, "Trainings"), table(heads, found.trainings, "trainings")],
    (found.prompts.length > 0 || found.replies.length > 0 || found.older) && h("h3", {}, "Prompt and reply"),
    texts(found.prompts), texts(found.replies),
    found.older && h("p", {}, "Older prompts are in ", h("code", {}, found.older.join(", "))),
    found.logs.length > 0 && [h("h3", {}, "Logs"), texts(found.logs)],
  ];
}

function trials(data, rows) {
  const box = h("dialog", { id: "trial", "aria-labelledby": "trial-title" });
  document.body.append(box);
  let shown = null;
  const step = (by) => {
    const list = rows(), at = list.findIndex((row) => row.trial === shown);
    const next = list[at + by];
    if (next) open(next.trial);
  };
  box.addEventListener("keydown", (event) => {
    if (event.target.closest("pre, [role=region]")) return; // which the arrows scroll
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && event.target.tagName !== "SUMMARY") {
      step(by);
      event.preventDefault();
    }
  });
  box.addEventListener("close", () => {
    const button = document.querySelector(`[data-open="${shown}"]`);
    shown = null;
    if (button) button.focus();
  });
  async function open(number) {
    const row = rows().find((one) => one.trial === number);
    if (!row) return;
    shown = number;
    const body = h("div", { class: "body" });
    const close = h("button", { type: "button", on: { click: () => box.close() } }, "Close");
    show(box,
      h("div", { class: "bar" },
        h("h2", { id: "trial-title", class: row.outcome }, `${MARKS[row.outcome]} Trial ${row.trial}: ${row.title || row.category}`),
        h("button", { type: "button", on: { click: () => step(-1) } }, "← Before"),
        h("button", { type: "button", on: { click: () => step(1) } }, "Next →"), close),
      h("p", { class: "verdict" }, h("b", {}, `${row.outcome}. `), row.words),
      row.hypothesis && h("p", { class: "hypothesis" }, row.hypothesis), body);
    if (!box.open) box.showModal();
    box.scrollTop = 0;
    close.focus();
    try {
      const found = await details_of(data, number);
      if (shown === number) show(body, inside(row, found, data.view.run.tag));
    } catch (error) {
      show(body, h("p", { class: "failed" }, `It cannot be read: ${error.message}`));
    }
  }
  return open;
}
