// Drawing with Plotly. Plotly takes some tags and links in its texts, and the texts of a run may be a stranger's:
// everything that is drawn goes through draw(), which escapes every text.
"use strict";

const charts = (() => {
  const CONFIG = {
    displaylogo: false,
    showSendToCloud: false, // A page sends nothing to anyone
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };

  // ---- Texts

  function escapeText(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function escapeAll(value) {
    if (typeof value === "string") return escapeText(value);
    if (Array.isArray(value)) return value.map(escapeAll);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, escapeAll(each)]));
  }

  // ---- Colours of the page, light or dark

  function getColor(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function dress(layout) {
    const text = getColor("--text"), grid = getColor("--grid");
    const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true };
    const dressed = {
      font: { color: text, size: 12, family: "system-ui, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 36, t: 24, b: 44 },
      // In the right margin: across the top it would lie on the legend
      modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: text, activecolor: text },
      hovermode: "closest",
      hoverlabel: { namelength: 40 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      ...layout,
    };
    for (const name of Object.keys(dressed)) {
      if (/^[xy]axis\d*$/.test(name)) {
        dressed[name] = { ...axis, ...dressed[name], title: { standoff: 8, ...dressed[name].title } };
      }
    }
    return dressed;
  }

  // Draw a chart, or draw it anew, on an element; what the reader has zoomed stays
  function draw(element, data, layout) {
    const traces = escapeAll(data).map((trace) =>
      trace.hovertemplate ? { ...trace, hovertemplate: `${trace.hovertemplate}<extra></extra>` } : trace
    );
    return Plotly.react(element, traces, { ...escapeAll(dress(layout)), uirevision: "same" }, CONFIG);
  }

  // ---- Packed arrays, see packing.py

  const TYPES = { i1: [Int8Array, -128], i2: [Int16Array, -32768] };

  function unpack(packed) {
    const [Kind, missing] = TYPES[packed.type];
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    const values = Float32Array.from(new Kind(bytes.buffer), (number) =>
      number === missing ? NaN : number * packed.scale
    );
    return { values, shape: packed.shape };
  }

  // The rows of an array (rows, columns), or of the part of an array that begins at an offset
  function toRows({ values }, rows, columns, offset = 0) {
    return Array.from({ length: rows }, (_, row) =>
      values.subarray(offset + row * columns, offset + (row + 1) * columns)
    );
  }

  function transpose(rows) {
    return rows.length ? Array.from(rows[0], (_, k) => rows.map((row) => row[k])) : [];
  }

  return { draw, getColor, toRows, transpose, unpack };
})();
