// Draws the page: panels, table, controls.

/** Draw the panels and the table again. */
async function draw() {
  const number = ++drawn;
  state.brush = {};
  rows = candidates.filter(isShown);
  const here = candidates.filter(isHere);
  const of = (name) => distinct(here, name).join(", ");
  const where = `timed on ${of("device")} (${of("engine")})`;
  at("subtitle").textContent = `${of("network")} on ${of("data")}, ${where}; averages over seeds`;
  if (!rows.length) {
    view?.finalize();
    view = null;
    at("plots").replaceChildren("All candidates are hidden. Click Show all.");
    return list();
  }
  const actions = { export: true, source: false, compiled: false, editor: false };
  const made = await vegaEmbed("#plots", specification(), { renderer: "svg", downloadFileName: "pareto", actions });
  if (number !== drawn) return made.finalize();
  view?.finalize();
  view = made.view;
  view.addSignalListener("brush", (_, extents) => { state.brush = extents ?? {}; list(); });
  view.addEventListener("pointerover", (_, item) => pick(item?.datum?.id));
  list();
}

/** Mark a candidate in both panels and in the table; none for undefined. */
function pick(id) {
  const row = rows.find((one) => one.id === id);
  view?.data("picked", row ? [row] : []).run();
  for (const line of document.querySelectorAll("tr.candidate"))
    line.classList.toggle("picked", line.dataset.id === String(id));
}

// ---- table

// Heading, field to sort by, text of the cell, and whether it is aligned as a number.
const COLUMNS = [
  ["no.", "number", (row) => row.number, true],
  ["network", "network", (row) => row.network],
  ["device", "device", (row) => row.device],
  ["method", "series", (row) => row.series],
  ["level", "level", (row) => plain(row.level), true],
  ["recipe", "recipe", (row) => row.recipe],
  ["loss", "loss", (row) => row.loss],
  ["seeds", "seeds", (row) => row.seeds, true],
  ["accuracy", "accuracy", accuracyText],
  ["latency", "latency_ms", (row) => latencyText(row) + (row.trusted ? "" : " *")],
  ["size (kB)", "size_bytes", (row) => scaled(row.size_bytes, 1e-3), true],
  ["memory (MiB)", "memory_bytes", (row) => scaled(row.memory_bytes, MIB), true],
  ["MACs (million)", "macs", (row) => scaled(row.macs, 1e-6), true],
  ["parameters (thousand)", "params", (row) => scaled(row.params, 1e-3), true],
];

/** An element with text or children. */
function element(tag, content = [], attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
  made.append(...[content].flat());
  return made;
}

/** A candidate's marker as a picture. */
function marker(look) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "-1.15 -1.15 2.3 2.3");
  picture.setAttribute("class", "mark");
  for (const [path, fill, stroke] of [[look.outline, "#fff", look.colour], [look.filled, look.colour, "none"]]) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const attributes = { d: path, fill, stroke, "stroke-width": 0.2 };
    for (const [name, text] of Object.entries(attributes)) shape.setAttribute(name, text);
    picture.append(shape);
  }
  return picture;
}

/** The table of the candidates that are shown and brushed. */
function list() {
  const listed = rows.filter(isBrushed);
  if (state.sort) {
    const order = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1);
    listed.sort((a, b) => order(a[state.sort], b[state.sort]) * (state.down ? -1 : 1));
  }
  const several = COLUMNS.filter(([, key]) => !["network", "device"].includes(key) || distinct(rows, key).length > 1);
  const lines = listed.flatMap((row) => [line(row, several), ...(row.id === state.open ? [more(row)] : [])]);
  const vague = listed.some((row) => !row.trusted) ? `; * ${VAGUE}` : "";
  const head = element("tr", [element("th"), ...several.map(heading)]);
  at("count").textContent = `${listed.length} of ${candidates.length} candidates${vague}`;
  at("table").replaceChildren(element("table", [element("thead", head), element("tbody", lines)]));
}

/** The head of a column; a click sorts by it, another turns the order round. */
function heading([title, key, , number]) {
  const arrow = state.sort !== key ? "" : state.down ? " \u25be" : " \u25b4";
  const cell = element("th", title + arrow, { class: number ? "number" : "text" });
  cell.onclick = () => {
    state.down = state.sort === key && !state.down;
    state.sort = key;
    list();
  };
  return cell;
}

function line(row, columns) {
  const align = (number) => ({ class: number ? "number" : "text" });
  const cells = columns.map(([, , text, number]) => element("td", `${text(row)}`, align(number)));
  const made = element("tr", [element("td", marker(row)), ...cells], { class: "candidate", "data-id": row.id });
  made.onpointerenter = () => pick(row.id);
  made.onpointerleave = () => pick(undefined);
  made.onclick = () => {
    state.open = state.open === row.id ? null : row.id;
    list();
  };
  return made;
}

/** Everything about a candidate: its description, its trainings with their files, and a command. */
function more(row) {
  const { checkpoint, ...texts } = described(row); // the trainings have each its own
  const words = Object.entries(texts).flatMap(([name, text]) => [element("dt", name), element("dd", text)]);
  const heads = ["seed", "accuracy", "latency", "arch", "checkpoint", "ONNX"].map((head) => element("th", head));
  const trainings = row.trainings.map((one) => {
    const latency = `${plain(one.latency_ms, 4, true)} ms`;
    const texts = [seedText(one), `${percent(one.accuracy)} %`, latency, one.arch, one.checkpoint_path, one.onnx_path];
    return element("tr", texts.map((text) => element("td", text ?? "-")));
  });
  const parts = [element("dl", words), element("table", [element("tr", heads), ...trainings])];
  const path = row.trainings[0].onnx_path;
  if (path) {
    const command = element("code", `hakd explain ${path} --device ${row.device}`, { class: "command" });
    parts.push(element("p", ["Which of its widths lose time: ", command]));
  }
  return element("tr", element("td", parts, { colspan: COLUMNS.length + 1 }), { class: "more" });
}

// ---- controls

function choices(id, values, selected, then) {
  at(id).append(...values.map(([key, text]) => element("option", text, { value: key })));
  at(id).value = state[id] = selected;
  at(id).onchange = () => { state[id] = at(id).value; then(); };
}

/** Buttons that hide and show; with Shift, one alone. */
function legend(id, title, entries) {
  at(id).append(element("b", title));
  for (const [key, look] of entries) {
    const chip = element("button", [marker(look), key], { class: "chip", "data-key": key, "aria-pressed": "true" });
    chip.onclick = (event) => {
      const hidden = state.hidden[id];
      if (event.shiftKey) {
        hidden.clear();
        entries.forEach(([other]) => other !== key && hidden.add(other));
      } else if (!hidden.delete(key)) hidden.add(key);
      press();
      draw();
    };
    at(id).append(chip);
  }
}

/** Show on the buttons what is hidden, and only the buttons of what the network and device have. */
function press() {
  for (const [id, field] of [["method", "method"], ["recipe", "kind"]]) {
    const there = new Set(candidates.filter(isHere).map((row) => row[field]));
    for (const chip of at(id).querySelectorAll(".chip")) {
      chip.setAttribute("aria-pressed", String(!state.hidden[id].has(chip.dataset.key)));
      chip.hidden = !there.has(chip.dataset.key);
    }
  }
}

function start() {
  const [networks, devices] = [distinct(candidates, "network"), distinct(candidates, "device")];
  const every = (names, word) => (names.length > 1 ? [[ALL, `all ${word}`]] : []);
  const all = (names, word) => [...names.map((name) => [name, name]), ...every(names, word)];
  const again = () => { press(); draw(); };
  choices("network", all(networks, "networks"), networks[0], again);
  choices("device", all(devices, "devices"), devices[0], again);
  const known = Object.entries(COSTS).filter(([field]) => candidates.some((row) => row[field] !== null));
  choices("cost", known.map(([field, cost]) => [field, cost.name]), known[0][0], draw);
  const methods = Object.entries(study.looks).map(([method, kinds]) => [method, Object.values(kinds)[0]]);
  legend("method", "Method", methods.map(([method, look]) => [method, { ...look, filled: look.outline }]));
  const circles = Object.entries(study.fills).map(([kind, look]) => [kind, { ...look, colour: "#000" }]);
  legend("recipe", "Recipe", circles);
  at("reset").onclick = () => {
    Object.values(state.hidden).forEach((set) => set.clear());
    again();
  };
  const made = study.provenance;
  const configuration = made.config_hash ? `, configuration ${made.config_hash}` : "";
  at("provenance").textContent = `Commit ${made.commit}${configuration}`;
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 200); });
  again();
}

start();
