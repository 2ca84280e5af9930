// The page from top to bottom, in the order in which one asks.

function heading(data) {
  const { run } = data.view;
  const facts = [
    ["preset", run.preset], ["budget", run.budget], ["keep rule", run.keep], ["proposer", run.proposer],
    ["model", run.llm], ["data", run.data], ["objective", run.objective],
    ["champion", run.champion.slice(0, 12)],
  ].filter(([, text]) => text);
  const theme = h("button", { type: "button", id: "theme", on: { click: turn_theme } }, "Light or dark");
  return [
    data.recorded && h("p", { class: "recorded" }, data.recorded),
    h("div", { class: "bar" },
      h("h1", {}, "autoresearch ", h("span", { class: "quiet" }, run.tag)),
      h("span", { class: `state ${run.state}`, id: "state" }, run.state), theme),
    h("p", { class: "facts" }, facts.map(([name, text], i) => [i ? " · " : "", h("span", { class: "quiet" }, `${name} `), text])),
  ];
}

const KIND = { structure: "structure", numbers: "numbers" };

function found_of({ found, run }) {
  const worth = (gain) => h("b", {}, `${gain.words} bits per byte`);
  const split = Object.entries(found.by_kind);
  const of = found.by_kind_is_verified ? "verified" : "claimed, not verified";
  return section("found", "What it found",
    h("p", { class: found.verified && found.verified.is_of_champion ? "verified" : "unverified" },
      found.verified ? "" : "Gain ", found.verified_words),
    found.claimed && h("p", {}, "Claimed: ", worth(found.claimed),
      `, ${found.cost_name} ${within(found.baseline.mean, 0)} → ${within(found.best.mean, found.best.half)}`,
      found.summed && `, ${found.summed}`),
    h("p", {}, `${run.trials} trials: ${run.kept} kept, ${run.reverted} reverted, ${run.rejected} rejected before training.`),
    split.length > 0 && h("p", { id: "split" }, `Of the gain, ${of}: `,
      split.map(([kind, gain]) => `${KIND[kind]} ${signed(gain)}`).join(", ")));
}

function story({ found }, open) {
  const one = (what) => h("li", {},
    h("button", { type: "button", class: "link", on: { click: () => open(what.trial) } }, what.sentence),
    what.transfer && h("span", { class: "quiet" }, ` ${what.transfer}`),
    what.hypothesis && h("p", { class: "quiet" }, what.hypothesis));
  return [
    section("keeps", "What was kept, as a story", found.keeps.length > 0 && h("ol", {}, found.keeps.map(one))),
    section("near", "Near misses", found.near_misses.length > 0 && h("ul", {}, found.near_misses.map(one))),
  ];
}

function belief_of({ belief, found }) {
  const noise = Object.entries(belief.noise).map(([kind, value]) => `${value.toFixed(4)} for ${kind}`);
  return section("belief", "Can it be believed?", pairs([
    ["false keeps", belief.meter], ["noise of a difference", noise.join(", ")],
    ["isolation", belief.isolation || "not known yet"], ["sealed text", belief.openings],
    ...(found.verified && !found.verified.is_of_champion ? [["verified", "of an earlier champion"]] : []),
  ]));
}

function now_of({ now, pace, cost }) {
  const live = now.live;
  const sides = live && { champion: live.champion || [], candidate: live.candidate || [] };
  return section("now", "What it does now",
    h("p", { id: "doing" }, now.words),
    live && live.title && h("p", { class: "quiet" }, `${live.category}: ${live.title}`),
    live && curves(sides, "training loss so far, champion and candidate"),
    pairs([["pace", pace.words || "not known yet"], ["cost", cost.words],
      ...(known(cost.per_gain) ? [["per gain", `$${cost.per_gain.toFixed(2)} for each 0.01 bits per byte`]] : []),
      ["trained", clock(cost.trained_seconds)]]));
}

function next_of(view) {
  return section("next", "What to do next", view.next.length > 0 && h("ul", {},
    view.next.map((one) => h("li", {}, one.words, one.command && [": ", h("code", {}, one.command)]))));
}

function prior_of({ prior, course }, without) {
  const top = Math.max(0.01, ...prior.flatMap((share) => [share.now, ...share.course]));
  const when = course.length ? `, trials ${course[0]} to ${course[course.length - 1]}` : "";
  const rows = prior.map((share) => [
    share.category,
    h("span", { class: "meter" }, h("i", { "width%": (100 * share.now) / top })), percent(share.now),
    spark(share.course, top, share.course.length
      ? `from ${percent(share.course[0])} to ${percent(share.course[share.course.length - 1])}` : "no trial yet"),
    share.exhausted && `nothing left, it is said: ${share.exhausted}`,
  ]);
  return section("prior", "Categories and their prior",
    rows.length > 0 && table(["category", "for the next trial", "", `over time${when}`, ""], rows, "prior by category"),
    without.length > 0 && h("p", {}, `No untried idea, or closed: ${without.join(", ")}.`));
}

function rest_of({ more: told, view, recorded }) {
  const { tag, champion } = view.run;
  const harvest = told.harvest;
  const moved = view.found.keeps.filter((keep) => keep.transfer);
  const command = (words, text) => h("li", {}, `${words}: `, h("code", {}, text));
  return [
    section("checks", "Verified, transferred, harvested, replayed",
      told.verified ? pre(told.verified) : h("p", {}, view.found.verified_words),
      moved.length > 0 && table(["trial", "kept change", "elsewhere"],
        moved.map((keep) => [keep.trial, keep.title, keep.transfer]), "transfer to other budgets and sizes"),
      harvest && table(["trial", "kept change", "claimed", "alone on the base", "lost without it", ""],
        harvest.keeps, `harvest on ${harvest.seeds} fresh seeds`),
      told.replays.length > 0 && table(["trial", "replay", "val_bpb"], told.replays, "replays"),
      champion && !recorded && h("ul", {},
        command("train the champion again on its recorded clock", `python -m agent replay ${champion.slice(0, 12)}`),
        command("take it over into your branch", `python -m agent adopt --tag ${tag}`))),
    section("notebook", "Notebook", told.notebook && [
      h("p", { class: "quiet" }, "In the words of the model, which wrote it from the verdicts, and of whoever edited it."),
      pre(told.notebook)]),
    section("program", "Versions of program.md", told.programs.map((one) => more(
      `${one.version || "last read"}${one.trials ? `, trials ${one.trials}` : ", no trial yet"}${one.is_diff ? ", what changed" : ""}`,
      one.is_diff ? diff(one.text) : pre(one.text)))),
    section("settings", "Settings", pairs(told.settings)),
    section("machine", "Measured with", told.machine.length > 0 && pairs(told.machine)),
  ];
}

function turn_theme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  say(`${root.dataset.theme} colours`);
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch { /* a file may have no storage */ }
}
