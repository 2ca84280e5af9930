// What only the page on loopback has: news of the run, and the controls.

/** Listen for news; each is a whole head, and the rows that are new or changed. */
function listen(data, redraw) {
  const source = new EventSource("events");
  source.addEventListener("news", (event) => {
    const news = JSON.parse(event.data);
    Object.assign(data, news.head);
    const changed = new Map(data.rows.map((row) => [row.trial, row]));
    for (const row of news.rows) changed.set(row.trial, row);
    data.rows = [...changed.values()].sort((a, b) => a.trial - b.trial);
    redraw(news.rows.length > 0);
  });
  source.addEventListener("gone", (event) => {
    source.close();
    byId("link").textContent = JSON.parse(event.data);
  });
  source.addEventListener("open", () => byId("link").textContent = "live");
  source.addEventListener("error", () => {
    byId("link").textContent = "not connected: is watch still running?";
  });
}

async function ask(what, body) {
  const place = byId("answer");
  try {
    const answer = await fetch(what, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const text = await answer.text();
    place.className = answer.ok ? "kept" : "failed";
    place.textContent = answer.ok ? JSON.parse(text).said : text;
    return answer.ok ? JSON.parse(text) : null;
  } catch (error) {
    place.className = "failed";
    place.textContent = `not done: ${error.message}`;
    return null;
  }
}

function controls(data) {
  if (!data.steers) return section("controls", "Live", h("p", { id: "link", role: "status" }, "connecting"));
  const button = (id, text, act) => h("button", { type: "button", id, on: { click: act } }, text);
  const idea = h("textarea", { id: "idea", rows: 2, maxlength: 2000 });
  const file = h("input", { type: "file", id: "file", accept: ".py,text/x-python" });
  const notes = h("textarea", { id: "notes", rows: 8, spellcheck: "false" });
  let [shown, untouched] = ["", ""];
  const read = async (unless_edited) => {
    const answer = await fetch("notes", { cache: "no-store" });
    const found = answer.ok ? await answer.json() : { notes: "", version: "", path: await answer.text() };
    if (unless_edited && notes.value !== untouched) return; // what somebody types is theirs
    [notes.value, untouched, shown] = [found.notes, found.notes, found.version];
    byId("notes-path").textContent = found.path;
  };
  const send = async () => {
    const source = file.files.length ? await file.files[0].text() : "";
    if (await ask("idea", { idea: idea.value, source })) {
      [idea.value, file.value] = ["", ""];
      await read(true);
    }
  };
  const save = async () => {
    const done = await ask("notes", { notes: notes.value, version: shown });
    if (done) [shown, untouched] = [done.version, notes.value];
  };
  read(false);
  return section("controls", "Steer it",
    h("p", {}, h("span", { id: "link", role: "status" }, "connecting")),
    h("div", { class: "bar" },
      button("pause", "Pause after this trial", () => ask("pause", { on: true })),
      button("resume", "Go on", () => ask("pause", { on: false })),
      button("stop", "Stop the run", () => ask("stop", {}))),
    h("p", { id: "answer", role: "status" }),
    h("h3", {}, "An idea for the next trial"),
    h("p", {}, h("label", { for: "idea" }, "In words"), idea),
    h("p", {}, h("label", { for: "file" }, "or your edit of train.py, tried as it is"), file),
    h("p", {}, button("send", "Queue it", send)),
    h("h3", {}, "Notes of program.md"),
    h("p", {}, h("label", { for: "notes" }, "Read before every trial: "), h("code", { id: "notes-path" }), notes),
    h("div", { class: "bar" }, button("save", "Save the notes", save), button("read", "Read them again", () => read(false))));
}
