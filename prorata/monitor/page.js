// The monitor's page. Amounts come as decimal strings and are only shortened where they are shown; plots alone use numbers.
"use strict";

const FAR = 10; // seconds without a word from the node, after which figures count as old
const MODES = {
  "active": "The mark is the index, and everything is open.",
  "catch-up": "The mark lags the index, or the index has moved on since the last settlement.",
  "reduce-only": "Nobody may add risk.",
  "closed": "The market was closed and winds down to the last accepted index.",
};
const POINT = [
  ["gross", "gross: lost by the losing side", "quote"],
  ["paid", "paid by losers", "quote"],
  ["deficit", "deficit: what closed accounts cannot pay", "quote"],
  ["covered", "drawn from insurance", "quote"],
  ["socialized", "socialized: winners go without", "quote"],
  ["haircut", "haircut of the winners' gain", "%"],
  ["surplus", "surplus of closed accounts", "quote"],
  ["adl_shortfall", "ADL shortfall", "quote"],
  ["closed_size", "size closed", "size"],
  ["buckets", "buckets closed", ""],
  ["open_interest", "open interest of losers after", "size"],
];
const element = (id) => document.getElementById(id);

let view = null; // the latest one
let status = null;
let connected = false;
let chosen = -10; // percent

// ------------------------------------------------------------------------------------------------------------- figures

/** Digits in groups of three. */
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

/** A decimal string, with all its digits or rounded to so many; what is not zero never looks like it. */
function shown(text, all, significant = 7) {
  const negative = text.startsWith("-");
  let [whole, part = ""] = text.replace("-", "").split(".");
  part = part.replace(/0+$/, "");
  if (!all && part.length > 2) {
    const zeros = whole === "0" ? part.match(/^0*/)[0].length : 0;
    const keep = whole === "0" ? zeros + 4 : Math.max(2, significant - whole.length);
    if (zeros > 6) {
      return `${negative ? "−" : ""}${Number(`0.${part}`).toExponential(3).replace("-", "−")}`;
    }
    if (part.length > keep) {
      const scaled = BigInt(whole + part.slice(0, keep)) + (part[keep] >= "5" ? 1n : 0n);
      const digits = scaled.toString().padStart(keep + 1, "0");
      whole = digits.slice(0, -keep);
      part = digits.slice(-keep).replace(/0+$/, "");
    }
  }
  return `${negative ? "−" : ""}${grouped(whole)}${part ? `.${part}` : ""}`;
}

/** Show an amount and its unit; all digits stand in its title. */
function paint(node) {
  const { value, unit, sign } = node.amount;
  const plus = sign && Number(value) > 0 ? "+" : "";
  const numeric = /^-?\d+(\.\d+)?$/.test(value);
  const text = document.createElement(numeric ? "span" : "code");
  text.textContent = numeric ? plus + shown(value, element("exact").checked, unit.startsWith("%") ? 5 : 7) : value;
  if (numeric) {
    text.title = `${plus}${shown(value, true)} ${unit}`.trim();
  }
  const after = document.createElement("span");
  after.className = "unit";
  after.textContent = unit;
  node.replaceChildren(text, ...(unit ? [after] : []));
}

/** An amount that changes with the page: a decimal string, or null. */
function put(node, value, unit = "", none = "none", sign = false) {
  if (value === null || value === undefined) {
    delete node.amount;
    node.removeAttribute("data-amount");
    node.textContent = none;
    return;
  }
  node.amount = { value: String(value), unit, sign };
  node.setAttribute("data-amount", "");
  paint(node);
}

/** What stands at a dotted path; undefined if any of it is missing. */
const at = (found, path) => path.split(".").reduce((inner, name) => inner?.[name], found);

function figure(name, value, unit) {
  const pair = document.createElement("div");
  const [term, amount] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = name;
  put(amount, value, unit);
  pair.append(term, amount);
  return pair;
}

const clock = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").replace(".000Z", " UTC");

// -------------------------------------------------------------------------------------------------------------- panels

function drawFigures() {
  for (const node of document.querySelectorAll("[data-value]")) {
    const { value, unit, none, sign, absolute } = node.dataset;
    let found = at(view, value);
    if (absolute !== undefined && found) {
      found = found.replace("-", "");
    }
    put(node, found, unit, none, sign !== undefined);
  }
  for (const node of document.querySelectorAll("[data-side]")) {
    const { side, unit, none, sign } = node.dataset;
    const second = node.nextElementSibling ?? node.parentElement.appendChild(document.createElement("td"));
    [node, second].forEach((cell, number) => put(cell, at(view.sides[number], side), unit, none, sign !== undefined));
  }
  element("payers").textContent = view.funding.premium.startsWith("-") ? "shorts" : "longs";
  element("refusal").hidden = !view.refusal;
  element("refusal").textContent = `The market refuses the oracle's price: ${view.refusal}`;
  const draws = view.insurance.window;
  element("window-ends").textContent = draws ? clock(draws.ends) : "no window open";
}

function drawHead() {
  element("market").textContent = view.market;
  element("network").textContent = `${view.network}, chain ${view.chain_id}`;
  element("block").textContent = grouped(String(view.block.number));
  element("block").title = view.block.hash;
  element("time").textContent = clock(view.block.timestamp);
  element("mode").textContent = view.mode;
  element("mode").className = `badge ${view.mode}`;
  document.title = `${shown(view.mark, false)} · ${view.mode} · block ${view.block.number} · prorata monitor`;
}

function drawMode() {
  element("mode-words").textContent = MODES[view.mode];
  const { lagging, suspect, guarded, closed, tripped_until: tripped } = view.conditions;
  const said = [
    lagging && "LAGGING: the last settlement did not reach the index.",
    !lagging && view.index !== null && view.gap !== null && Number(view.gap) !== 0 &&
      "The index has moved since the last settlement; anybody may call settle.",
    suspect && "SUSPECT: the oracle was reported dead, and nobody has settled since.",
    guarded && "GUARDED: the guardian made the market reduce-only.",
    closed && "CLOSED: the market was wound down.",
    tripped && `Tripped by a haircut of a basis point or more: reduce-only until ${clock(tripped)}.`,
    view.refusal && "Fills, withdrawals with a position and vault flows wait for a price.",
  ].filter(Boolean);
  element("conditions").replaceChildren(...(said.length ? said : ["No condition is set."]).map((words) => {
    const item = document.createElement("li");
    item.textContent = words;
    return item;
  }));
}

function drawPoint() {
  const points = view.curve.points;
  const slider = element("move");
  const place = points.findIndex((one) => one.change >= chosen);
  slider.max = points.length - 1;
  slider.value = place < 0 ? points.length - 1 : place;
  const point = points[slider.value];
  const change = `${point.change > 0 ? "+" : point.change < 0 ? "−" : "±"}${Math.abs(point.change)} %`;
  const words = `${change}, ${shown(point.price, false)} quote per size${point.losers ? `: ${point.losers} lose` : ""}`;
  element("move-to").textContent = words;
  slider.setAttribute("aria-valuetext", words);
  element("point").replaceChildren(...POINT.map(([name, label, unit]) => figure(label, point[name], unit)));
  return point;
}

const keyOf = (row) => `${row.transaction} ${row.block} ${row.number}`;

function newRow(row) {
  const item = document.createElement("li");
  item.className = row.kind;
  item.dataset.key = keyOf(row);
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  for (const [name, words] of [
    [`badge ${row.kind}`, row.kind],
    ["text", row.text],
    ["lead", ""],
    ["when", `block ${grouped(String(row.block))} · ${clock(row.timestamp)}`],
  ]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = words;
    summary.append(part);
    if (name === "lead" && row.lead !== null) {
      const { name: label, value, unit } = row.figures[row.lead];
      const amount = document.createElement("b");
      put(amount, value, unit);
      part.append(`${label} `, amount);
    }
  }
  const figures = document.createElement("dl");
  figures.className = "figures";
  const transaction = figure("transaction", row.transaction, "");
  transaction.className = "transaction";
  figures.append(...row.figures.map((one) => figure(one.name, one.value, one.unit)), transaction);
  details.append(summary, figures);
  item.append(details);
  return item;
}

/** Rows that stay are left alone, open or closed, focused or not. */
function drawRows() {
  const list = element("rows");
  const wanted = new Set(view.rows.map(keyOf));
  for (const item of [...list.children]) {
    if (!wanted.has(item.dataset.key)) {
      item.remove();
    }
  }
  let next = list.firstElementChild;
  for (const row of view.rows) {
    if (next?.dataset.key === keyOf(row)) {
      next = next.nextElementSibling;
    } else {
      list.insertBefore(newRow(row), next);
    }
  }
  element("none").hidden = view.rows.length > 0;
}

function drawParameters() {
  const named = Object.entries(view.parameters);
  element("parameters").replaceChildren(
    ...named.map(([name, [value, unit]]) => figure(name.replaceAll("_", " "), value, unit)));
}

// --------------------------------------------------------------------------------------------------------------- plots

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function layout(more) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), automargin: true, fixedrange: true };
  const { xaxis, yaxis, yaxis2, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("text") },
    margin: { l: 60, r: 12, t: 30, b: 42 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("text") } },
    hovermode: "x unified",
    dragmode: false,
    uirevision: "one",
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...(yaxis2 ? { yaxis2: { ...axis, ...yaxis2 } } : {}),
    ...rest,
  };
}

const OPTIONS = { displayModeBar: false, responsive: true };
const numbers = (list, name) => list.map((one) => Number(one[name]));

function drawPast() {
  const blocks = view.past.map((one) => one[0]);
  const line = (name, place, dash) => ({
    name, x: blocks, y: view.past.map((one) => one[place] === null ? null : Number(one[place])),
    mode: "lines+markers", line: { color: colour(name), shape: "hv", width: 2, dash }, marker: { size: 5 },
    hovertemplate: "%{y:,.6~f}",
  });
  Plotly.react("past", [line("index", 3, "dot"), line("mark", 2, "solid")], layout({
    xaxis: { title: { text: "block" }, tickformat: ",d", nticks: 8, ...(blocks.at(-1) - blocks[0] < 8 ? { dtick: 1 } : {}) },
    yaxis: { title: { text: "quote per size" } },
  }), OPTIONS);
}

function drawCurve() {
  const points = view.curve.points;
  const prices = numbers(points, "price");
  const point = drawPoint();
  const area = (name, words) => ({
    name: words, x: prices, y: numbers(points, name), stackgroup: "gross", mode: "lines",
    line: { width: 0.5, color: colour(name) }, fillcolor: colour(name), hovertemplate: "%{y:,.6~f} quote",
  });
  const haircut = {
    name: "haircut", x: prices, y: numbers(points, "haircut"), yaxis: "y2", mode: "lines",
    line: { color: colour("socialized"), width: 2 }, hovertemplate: "%{y:,.4~f} %",
  };
  const upright = (price, name, dash, width = 1.5) => ({
    type: "line", xref: "x", yref: "paper", x0: Number(price), x1: Number(price), y0: 0, y1: 1,
    line: { color: colour(name), width, dash },
  });
  const inside = (price) => Number(price) >= prices[0] && Number(price) <= prices.at(-1);
  const marked = [
    ["mark", view.mark, "mark", "solid"],
    ["index", view.index, "index", "dot"],
    ...view.sides.map((side, number) => [`next ${number ? "short" : "long"}`, side.next?.price, "faint", "dash"]),
  ].filter(([, price]) => price && inside(price));
  // Names of lines that stand close together go below one another.
  const heights = {};
  const labels = marked.map(([words, price]) => {
    const slot = Math.round((12 * (Number(price) - prices[0])) / (prices.at(-1) - prices[0]));
    const height = Math.max(heights[slot - 1] ?? 0, heights[slot] ?? 0, heights[slot + 1] ?? 0);
    heights[slot] = height + 1;
    return {
      x: Number(price), y: 1, yref: "paper", yanchor: "top", yshift: -15 * height, text: words, showarrow: false,
      bgcolor: colour("panel"), font: { size: 11 },
    };
  });
  Plotly.react("losses", [
    area("paid", "paid by losers"), area("covered", "drawn from insurance"), area("socialized", "winners go without"), haircut,
  ], layout({
    xaxis: { title: { text: "price moved to (quote per size)" }, anchor: "y2", range: [prices[0], prices.at(-1)] },
    yaxis: { title: { text: "quote" }, domain: [0.38, 1], rangemode: "tozero" },
    yaxis2: { title: { text: "haircut, %" }, domain: [0, 0.28], rangemode: "tozero" },
    shapes: [
      upright(point.price, "line", "solid", 5), ...marked.map(([, price, name, dash]) => upright(price, name, dash)),
    ].map((shape) => ({ ...shape, layer: shape.line.width === 5 ? "below" : "above" })),
    annotations: labels,
  }), OPTIONS).then((plot) => {
    plot.removeAllListeners("plotly_click");
    plot.on("plotly_click", (event) => choose(view.curve.points[event.points[0].pointNumber].change));
  });
}

function drawNothing() {
  for (const id of ["block", "time", "mode"]) {
    element(id).textContent = "–";
  }
  element("mode").className = "";
  document.title = "prorata monitor";
}

function draw() {
  element("rows").classList.toggle("loud", !element("quiet").checked);
  document.querySelector("main").hidden = !view;
  if (!view) {
    drawNothing();
  }
  if (view) {
    drawHead();
    drawFigures();
    drawMode();
    drawRows();
    drawParameters();
    drawPast();
    drawCurve();
  }
}

// -------------------------------------------------------------------------------------------------------------- staying

/** What is wrong, if anything is. */
function trouble() {
  if (!connected) {
    return "The monitor does not answer: is the command still running? This page tries again by itself.";
  }
  if (!status) {
    return "Waiting for the first block.";
  }
  if (status.state === "unreachable") {
    const kept = view ? ` Figures are those of block ${grouped(String(view.block.number))}.` : "";
    return `Node unreachable (${status.words}).${kept} The monitor tries again by itself.`;
  }
  if (status.state === "no-market") {
    return `No market: ${status.words}. The monitor waits for one.`;
  }
  if (silence() > FAR) {
    return "The node does not answer: figures are old.";
  }
  return "";
}

/** Seconds since the node last answered. */
const silence = () => Math.max(0, Date.now() / 1000 - (status?.contact ?? 0));

function watch() {
  const words = trouble();
  if (element("banner").textContent !== words) {
    element("banner").textContent = words;
  }
  document.body.classList.toggle("stale", words !== "");
  const seconds = silence();
  element("age").textContent = !status?.contact ? "never"
    : seconds < 60 ? `${seconds.toFixed(0)} s ago` : `${Math.floor(seconds / 60)} min ago`;
}

function listen() {
  const source = new EventSource("events");
  source.onopen = () => { connected = true; };
  source.onerror = () => {
    connected = false;
    watch();
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(listen, 2000);
    }
  };
  source.addEventListener("view", (event) => {
    view = JSON.parse(event.data);
    draw();
  });
  source.addEventListener("status", (event) => {
    status = JSON.parse(event.data);
    watch();
  });
}

function choose(change) {
  chosen = change;
  drawCurve();
}

element("move").addEventListener("input", (event) => choose(view.curve.points[event.target.value].change));
element("exact").addEventListener("change", () => document.querySelectorAll("[data-amount]").forEach(paint));
element("quiet").addEventListener("change", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setInterval(watch, 500);
watch();
listen();
