// The content of the page, what is chosen, and every candidate with its words.
"use strict";

const study = JSON.parse(document.getElementById("content").textContent);
const at = (id) => document.getElementById(id);

const MIB = 2 ** -20;
// What the right panel can show, with the factor from the column's unit to the axis'.
const COSTS = {
  size_bytes: { name: "file size", label: "size of the file (kB, 1 kB = 1000 bytes)", factor: 1e-3 },
  memory_bytes: { name: "memory", label: "memory beyond the empty engine (MiB)", factor: MIB },
  weight_bytes: { name: "weights in memory", label: "weights in memory (MiB)", factor: MIB },
  macs: { name: "MACs", label: "multiply-accumulates of one image (millions)", factor: 1e-6 },
};
const LATENCY = "measured latency of one image (ms)";
const VAGUE = "latency not known to within half of min_step";
const ALL = "";

const state = {
  network: ALL,
  device: ALL,
  cost: "size_bytes",
  hidden: { method: new Set(), recipe: new Set() }, // names of methods, kinds of recipes
  brush: {}, // [lowest, highest] by field
  sort: null, // field of the table
  down: false,
  open: null, // id of the candidate whose details are shown
};
let view = null; // of Vega: what is drawn
let rows = []; // the candidates that are shown
let drawn = 0; // number of the last drawing

/** A number without exponent, with this number of significant digits; `zeros` keeps those at the end. */
function plain(value, digits = 3, zeros = false) {
  if (value === null) return "-";
  const least = zeros ? { minimumSignificantDigits: digits } : {};
  return value.toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: false, ...least });
}

/** A count in a larger unit; "-" for null. */
const scaled = (value, factor, digits = 3) => plain(value === null ? null : value * factor, digits, true);

const percent = (value) => (100 * value).toFixed(1);

function accuracyText(row) {
  if (row.seeds === 1 || row.bar_low === null) return `${percent(row.accuracy)} %`;
  const kind = row.seeds < 3 ? "range" : "95 %";
  return `${percent(row.accuracy)} % (${kind}: ${percent(row.bar_low)} to ${percent(row.bar_high)})`;
}

function latencyText(row) {
  const [low, high] = [row.latency_low_ms, row.latency_high_ms].map((end) => plain(end, 3, true));
  return `${plain(row.latency_ms, 3, true)} ms` + (row.latency_low_ms === null ? "" : ` (95 %: ${low} to ${high})`);
}

function widthsText(row) {
  const archs = [...new Set(row.trainings.map((one) => one.arch))].filter((arch) => study.widths[arch]);
  const words = (widths) => Object.entries(widths).map(([group, width]) => `${group} ${width}`).join(", ");
  return archs.map((arch) => words(study.widths[arch])).join("; ");
}

function seedText(training) {
  return training.search_seed === null ? `${training.seed}` : `${training.seed} (search ${training.search_seed})`;
}

/** Everything about a candidate, in words: what the tooltip and the table's details show. */
function described(row) {
  const first = row.trainings[0].checkpoint_path;
  const rest = row.trainings.length - 1;
  const texts = {
    network: `${row.network} on ${row.data}`,
    method: row.budget === null ? row.method : `${row.method}, budget ${row.budget}`,
    level: plain(row.level),
    recipe: row.recipe,
    loss: row.loss,
    "chosen for": row.target_device,
    device: `${row.device}: ${row.engine}, ${row.threads} thread${row.threads === 1 ? "" : "s"}`,
    seeds: row.trainings.map(seedText).join(", "),
    "test accuracy": accuracyText(row),
    "validation accuracy": row.val_accuracy === null ? null : `${percent(row.val_accuracy)} %`,
    latency: latencyText(row) + (row.trusted ? "" : `, ${VAGUE}`),
    "predicted latency": row.predicted_ms === null ? null : `${plain(row.predicted_ms, 3, true)} ms`,
    "file size": `${scaled(row.size_bytes, 1e-3, 4)} kB`,
    memory: row.memory_bytes === null ? null : `${scaled(row.memory_bytes, MIB)} MiB`,
    "weights in memory": row.weight_bytes === null ? null : `${scaled(row.weight_bytes, MIB)} MiB`,
    energy: row.energy_mj === null ? null : `${plain(row.energy_mj)} mJ`,
    MACs: `${scaled(row.macs, 1e-6, 4)} million`,
    parameters: `${scaled(row.params, 1e-3, 4)} thousand, ${scaled(row.nonzero_params, 1e-3, 4)} not zero`,
    "search time": row.search_s === null ? null : `${plain(row.search_s)} s`,
    widths: widthsText(row) || null,
    checkpoint: first && rest ? `${first} (and ${rest} more: click its row in the table)` : first,
  };
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== null));
}

const candidates = study.candidates.map((row, id) => {
  const look = study.looks[row.method][row.kind];
  const title = `${row.number} ${row.series}` + (row.method === "teacher" ? "" : ` ${plain(row.level)}`);
  return {
    ...row, id, title, colour: look.colour, outline: look.outline, filled: look.filled, area: 100 * look.scale ** 2,
    percent: 100 * row.accuracy, low: 100 * (row.bar_low ?? row.accuracy), high: 100 * (row.bar_high ?? row.accuracy),
    group: JSON.stringify([row.network, row.device]), hover: { title, ...described(row) },
    line: JSON.stringify([row.network, row.device, row.method, row.budget, row.recipe, row.loss, row.target_device]),
  };
});

const isOf = (name) => (row) => state[name] === ALL || row[name] === state[name];
const isHere = (row) => isOf("network")(row) && isOf("device")(row);
const isShown = (row) => isHere(row) && !state.hidden.method.has(row.method) && !state.hidden.recipe.has(row.kind);
const inside = (value, [low, high]) => value !== null && value >= low && value <= high;
const isBrushed = (row) => Object.entries(state.brush).every(([name, bounds]) => inside(row[name], bounds));
const distinct = (of, name) => [...new Set(of.map((row) => row[name]))];

/** The rows of one network and device that no other beats in cost and accuracy, by rising cost. */
function front(group, cost) {
  const kept = [];
  for (const row of [...group].sort((a, b) => a[cost] - b[cost] || b.accuracy - a.accuracy)) {
    const last = kept[kept.length - 1];
    const equal = last && row.accuracy === last.accuracy && row[cost] === last[cost];
    if (!last || row.accuracy > last.accuracy || equal) kept.push(row);
  }
  return kept;
}

/** Corners of the front lines: from the lower edge at the cheapest candidate to the right edge. */
function frontLines(cost, bottom, right) {
  return distinct(rows, "group").flatMap((group) => {
    const line = front(rows.filter((row) => row.group === group && row[cost] !== null), cost);
    if (!line.length) return [];
    const places = line.map((row) => [row[cost], row.percent]);
    const ends = [[places[0][0], bottom], ...places, [right, places[places.length - 1][1]]];
    return ends.map(([x, y], order) => ({ group, order, x, y: Math.max(y, bottom) }));
  });
}
