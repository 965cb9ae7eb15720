// The two panels: axes, layers, and their Vega-Lite specification.

const HEIGHT = 380; // of a panel, pixels

/** Lowest and highest accuracy of the axis in per cent, and the floor below which candidates stand at the edge. */
function accuracyAxis() {
  const mean = rows.map((row) => row.percent).sort((a, b) => a - b);
  const top = mean[mean.length - 1];
  let first = 0; // of the core: at most a quarter, under a gap wider than half the range, is left out
  if (mean.length >= 5) {
    const gaps = mean.slice(1, Math.floor(mean.length / 4) + 1).map((percent, i) => percent - mean[i]);
    if (Math.max(...gaps) > 0.5 * (top - mean[0])) first = gaps.indexOf(Math.max(...gaps)) + 1;
  }
  const floor = mean[first], span = Math.max(top - floor, 0.5);
  const core = rows.filter((row) => row.percent >= floor);
  const low = Math.max(Math.min(...core.map((row) => row.low)), floor - 0.75 * span);
  const high = Math.min(Math.max(...core.map((row) => row.high)), top + 0.75 * span);
  const pad = 0.07 * Math.max(high - low, 0.5);
  return { floor, domain: [low - pad * (first ? 2 : 1), Math.min(high + pad, 100 + pad / 2)] };
}

/** Logarithmic where values span more than a factor of three, as in pareto.pdf. */
function costScale(values) {
  const low = Math.min(...values), high = Math.max(...values);
  if (low > 0 && high / low > 3) {
    const pad = (high / low) ** 0.05;
    return { type: "log", domain: [low / pad, high * pad], nice: false };
  }
  const pad = Math.max(0.06 * (high - low), 0.02 * high, 1e-9);
  return { type: "linear", domain: [low - pad, high + pad], nice: false, zero: false };
}

/** Round numbers between the limits of a logarithmic axis: as many per decade as give five ticks or so. */
function logTicks([low, high]) {
  let ticks = [];
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
    ticks = [];
    for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++)
      for (const step of steps) ticks.push(Number((step * 10 ** decade).toPrecision(3)));
    ticks = ticks.filter((tick) => tick >= low && tick <= high);
    if (ticks.length >= 5) break;
  }
  return ticks;
}

/** Each row's marker area: a marker on top of another is smaller, so that both are seen and can be pointed at. */
function nest(own, field, scale, y, width) {
  const share = (value, [low, high], of) => (of(value) - of(low)) / (of(high) - of(low));
  const places = own.map((row) => [
    width * share(row[field], scale.domain, scale.type === "log" ? Math.log : Number),
    HEIGHT * share(row.shown, y.domain, Number),
  ]);
  own.forEach((row, i) => {
    const under = places.slice(0, i).filter(([a, b]) => Math.hypot(a - places[i][0], b - places[i][1]) < 3).length;
    row[`${field}_area`] = row.area * 0.45 ** Math.min(under, 3);
  });
}

const as = (name) => ({ field: name, scale: null }); // a colour or path that the row holds
const FADED = { condition: { param: "brush", value: 1 }, value: 0.15 };

/** One panel; `field` is its cost, `bounds` the fields of the cost's interval, `y` the scale of the accuracy. */
function panel(field, label, bounds, width, y) {
  const own = rows.filter((row) => row[field] !== null);
  const scale = costScale(own.flatMap((row) => [row[field], ...bounds.map((name) => row[name] ?? row[field])]));
  nest(own, field, scale, y, width);
  const log = scale.type === "log";
  const ticks = log ? { values: logTicks(scale.domain) } : { tickCount: 6 };
  const axis = { title: label + (log ? ", log scale" : ""), format: "~r", ...ticks };
  const across = (name) => ({ field: name, type: "quantitative", scale, axis });
  const up = (name) => ({ field: name, type: "quantitative", scale: y, axis: { title: "test accuracy (%)" } });
  const layer = [...lineLayers(field, bounds, across, up), ...pointLayers(field, across, up)];
  return { data: { values: own }, width, height: HEIGHT, layer };
}

/** Teacher, front, lines through levels, error bars. `across` and `up` encode a field by the panel's axes. */
function lineLayers(field, bounds, across, up) {
  const rule = { type: "rule", clip: true };
  const line = { type: "line", clip: true, opacity: 0.5 };
  const inside = [{ filter: "datum.shown === datum.percent" }];
  const corners = frontLines(field, up().scale.domain[0], across().scale.domain[1]);
  const teacher = {
    transform: [{ filter: "datum.method === 'teacher'" }],
    mark: { ...rule, strokeDash: [6, 3], opacity: 0.5 },
    encoding: { y: up("percent") },
  };
  const best = {
    data: { values: corners },
    mark: { ...line, interpolate: "step-after", stroke: "#000", strokeWidth: 1.6 },
    encoding: { x: across("x"), y: up("y"), detail: { field: "group" }, order: { field: "order" } },
  };
  const place = { x: across(field), y: up("shown"), stroke: as("colour") };
  const levels = {
    transform: inside,
    mark: { ...line, strokeDash: [1, 2], strokeWidth: 0.8 },
    encoding: { ...place, detail: { field: "line" }, order: { field: "level" } },
  };
  const seeds = {
    transform: inside,
    mark: rule,
    encoding: { ...place, y: up("low"), y2: { field: "high" }, opacity: FADED },
  };
  const [low, high] = bounds;
  const processes = { mark: rule, encoding: { ...place, x: across(low), x2: { field: high }, opacity: FADED } };
  return [teacher, best, levels, seeds, ...(bounds.length ? [processes] : [])];
}

/** Markers (an outline and its filled part), values below the axis, and a ring around what is pointed at. */
function pointLayers(field, across, up) {
  const place = { x: across(field), y: up("shown") };
  const size = { field: `${field}_area`, type: "quantitative", scale: null };
  const mark = { type: "point", opacity: 1, cursor: "pointer" };
  const common = { ...place, size, opacity: FADED, tooltip: { field: "hover", type: "nominal" } };
  const outline = {
    name: `${field}_points`,
    mark: { ...mark, fill: "#fff", strokeWidth: 1.1 },
    encoding: { ...common, shape: as("outline"), stroke: as("colour"), description: as("title") },
  };
  const part = {
    transform: [{ filter: "datum.filled !== ''" }],
    mark: { ...mark, strokeWidth: 0, aria: false },
    encoding: { ...common, shape: as("filled"), fill: as("colour") },
  };
  const below = {
    transform: [{ filter: "datum.shown !== datum.percent" }],
    mark: { type: "text", align: "left", dx: 9, fontSize: 10 },
    encoding: { ...place, text: { field: "below" } },
  };
  const ring = { type: "point", shape: "circle", size: 420, stroke: "#000", opacity: 1, tooltip: null, aria: false };
  return [outline, part, below, { data: { name: "picked" }, mark: ring, encoding: place }];
}

/** The Vega-Lite specification of both panels. */
function specification() {
  const { floor, domain } = accuracyAxis();
  const cost = COSTS[state.cost];
  for (const row of rows) {
    row.cost = row[state.cost] === null ? null : row[state.cost] * cost.factor;
    row.shown = row.percent < floor ? domain[0] + 0.05 * (domain[1] - domain[0]) : row.percent;
    row.below = `\u2193 ${percent(row.accuracy)} %`;
  }
  const width = Math.max(260, Math.min(760, (at("plots").clientWidth - 180) / 2));
  const y = { domain, nice: false, zero: false };
  const panels = [panel("latency_ms", LATENCY, ["latency_low_ms", "latency_high_ms"], width, y)];
  if (rows.some((row) => row.cost !== null)) panels.push(panel("cost", cost.label, [], width, y));
  const brush = { type: "interval", mark: { fill: "#333", fillOpacity: 0.08, stroke: "#555" } };
  return {
    datasets: { picked: [] },
    params: [{ name: "brush", select: brush, views: panels.map((one) => one.layer.find((layer) => layer.name).name) }],
    hconcat: panels,
    spacing: 30,
    config: {
      font: "DejaVu Sans, Verdana, sans-serif",
      view: { stroke: null },
      axis: { gridColor: "#ddd", labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
    },
  };
}
