// Figures: drawn by plotly.js from the numbers beside each image, in the image's place. The library is unpacked when the
// first figure comes near; without it, and in print, the image stays.

const INK = "#000000";
let library = null;

function plotly() {
  library ??= unpack(document.getElementById("plotly").textContent).then((source) => {
    document.head.append(element("script", { text: source }));
    return window.Plotly;
  });
  return library;
}

const AXIS = { zeroline: false, automargin: true, ticks: "outside", ticklen: 4 };

/** Colours of a figure: the page's on the screen, dark on white in a file. */
function inks(onScreen) {
  if (!onScreen) return { ink: "#1c1d20", soft: "#5d6068", line: "#e2e3e7", paper: "#ffffff" };
  return { ink: colour("ink"), soft: colour("soft"), line: colour("line"), paper: "rgba(0,0,0,0)" };
}

/** Pixels. */
const heightOf = (panels) => 100 + 240 * panels.length;

function minus(series, base) {
  const at = new Map(base.x.map((x, place) => [x, base.y[place]]));
  const level = base.x.length === 2 && series.x.length > 2 ? base.y[0] : null; // a horizontal line
  const kept = series.x.map((x, place) => [x, level ?? at.get(x), place]).filter(([, other, place]) => other != null && series.y[place] !== null);
  return { ...series, x: kept.map(([x]) => x), y: kept.map(([, other, place]) => series.y[place] - other), low: null, high: null, raw: null };
}

function faded(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

function tracesOf(series, axes, first, percent, ink) {
  const drawn = series.colour === INK ? ink : series.colour;
  const shared = { ...axes, legendgroup: series.label, name: series.label, mode: "lines", showlegend: false };
  const silent = { ...shared, hoverinfo: "skip" };
  const found = [];
  if (series.low) {
    found.push({ ...silent, x: series.x, y: series.low, line: { width: 0 } });
    found.push({ ...silent, x: series.x, y: series.high, line: { width: 0 }, fill: "tonexty", fillcolor: faded(drawn.startsWith("#") ? drawn : "#888888", 0.18) });
  }
  if (series.raw) found.push({ ...silent, x: series.x, y: series.raw, line: { color: drawn, width: 0.8 }, opacity: 0.3 });
  const format = percent ? ".1%" : ".4~g";
  const interval = series.low ? ` [%{customdata[0]:${format}}, %{customdata[1]:${format}}]` : "";
  found.push({
    ...shared, showlegend: first, x: series.x, y: series.y,
    line: { color: drawn, width: 2.2, dash: series.dash },
    customdata: series.low ? series.low.map((low, at) => [low, series.high[at]]) : undefined,
    hovertemplate: `%{y:${format}}${interval}<extra>${series.label}</extra>`,
  });
  return found;
}

/** Traces and layout of a figure: hidden labels left out, values or differences to `base`. */
function picture(panels, { hidden, base, onScreen }) {
  const { ink, soft, line, paper } = inks(onScreen);
  const layout = {
    font: { color: ink, size: 13, family: getComputedStyle(document.body).fontFamily }, paper_bgcolor: paper, plot_bgcolor: paper,
    margin: { l: 56, r: 12, t: panels[0].title ? 30 : 10, b: 52 }, hovermode: "x unified", annotations: [], showlegend: !onScreen,
    hoverlabel: { bgcolor: onScreen ? colour("paper") : paper, bordercolor: line, font: { color: ink } }, legend: { orientation: "h", y: 1.12 },
  };
  const gap = (panels.every((panel) => panel.xlabel) ? 90 : 40) / heightOf(panels);
  const data = [];
  const named = new Set();
  let top = 1;
  panels.forEach((panel, at) => {
    const bottom = at === panels.length - 1 ? 0 : top - panel.height * (1 - gap * (panels.length - 1));
    const suffix = at ? String(at + 1) : "";
    const other = base && panel.series.find((series) => series.label === base);
    const what = other ? `${panel.ylabel}, minus ${base}` : panel.ylabel;
    layout[`xaxis${suffix}`] = { ...AXIS, anchor: `y${suffix}`, title: { text: panel.xlabel, font: { size: 12, color: soft } }, gridcolor: line, linecolor: soft };
    layout[`yaxis${suffix}`] = { ...AXIS, anchor: `x${suffix}`, domain: [Math.max(bottom, 0), top], title: { text: what, font: { size: 12, color: soft } }, gridcolor: line, zeroline: Boolean(other), zerolinecolor: soft, tickformat: panel.percent ? ".0%" : "", rangemode: panel.from_zero && !other ? "tozero" : "normal", ...(panel.from_zero && !other ? { minallowed: 0 } : {}) };
    if (panel.title) layout.annotations.push({ text: `<b>${panel.title}</b>`, x: 0, y: top, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false });
    for (const series of panel.series) {
      if (hidden.has(series.label)) continue;
      const shown = other && series !== other ? minus(series, other) : series;
      if (other && series === other) continue;
      data.push(...tracesOf(shown, { xaxis: `x${suffix}`, yaxis: `y${suffix}` }, !named.has(series.label), panel.percent, ink));
      named.add(series.label);
    }
    top = bottom - gap;
  });
  return { data, layout };
}

const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };

const SVG = "http://www.w3.org/2000/svg";

/** A piece of a curve, for its label. */
function swatch(series) {
  const drawing = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "line");
  const stroke = series.colour === INK ? "currentColor" : series.colour;
  const dashes = series.dash === "solid" ? {} : { "stroke-dasharray": series.dash.replaceAll("px", "") };
  const attributes = { x1: 0, x2: 30, y1: 4, y2: 4, stroke, "stroke-width": 3, ...dashes };
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  drawing.setAttribute("viewBox", "0 0 30 8");
  drawing.setAttribute("aria-hidden", "true");
  drawing.append(line);
  return element("span", { className: "swatch" }, drawing);
}

function controls(figure, panels, view, redraw) {
  const labels = new Map(panels.flatMap((panel) => panel.series).map((series) => [series.label, series]));
  const bar = element("div", { className: "controls" });
  for (const [label, series] of labels) {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      view.hidden[box.checked ? "delete" : "add"](label);
      redraw();
    });
    bar.append(element("label", {}, box, swatch(series), label));
  }
  if (labels.size > 1) {
    const select = element("select", {}, element("option", { value: "", text: "values" }));
    select.append(...[...labels.keys()].map((label) => element("option", { value: label, text: `differences to ${label}` })));
    select.addEventListener("change", () => {
      view.base = select.value;
      redraw();
    });
    bar.append(element("label", {}, "Show ", select));
  }
  for (const format of ["svg", "png"]) {
    const button = element("button", { type: "button", text: `${format.toUpperCase()} of this view` });
    button.addEventListener("click", async () => {
      const file = picture(panels, { ...view, onScreen: false });
      (await plotly()).downloadImage({ ...file, layout: { ...file.layout, margin: { l: 60, r: 20, t: 60, b: 50 } } }, { format, width: 900, height: 520, scale: format === "png" ? 2 : 1, filename: figure.dataset.figure });
    });
    bar.append(button);
  }
  return bar;
}

async function drawFigure(figure) {
  const panels = JSON.parse(figure.querySelector("script").textContent);
  const Plotly = await plotly();
  const view = { hidden: new Set(), base: "", onScreen: true };
  const plot = element("div", { className: "plot", role: "img" });
  plot.setAttribute("aria-label", figure.querySelector("img").alt);
  plot.style.height = `${heightOf(panels)}px`;
  const redraw = () => {
    const { data, layout } = picture(panels, view);
    return Plotly.react(plot, data, layout, CONFIG);
  };
  const drawing = figure.querySelector(".drawing");
  drawing.append(controls(figure, panels, view, redraw), plot);
  await redraw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((found) => found.isIntersecting)) {
    near.unobserve(entry.target);
    drawFigure(entry.target);
  }
}, { rootMargin: "600px" });
for (const figure of document.querySelectorAll("figure.drawn")) {
  const drawing = figure.querySelector(".drawing"); // its room from the start, so that what is below stays in its place
  drawing.style.minHeight = `${heightOf(JSON.parse(figure.querySelector("script").textContent)) + 40}px`;
  drawing.classList.add("live");
  near.observe(figure);
}
