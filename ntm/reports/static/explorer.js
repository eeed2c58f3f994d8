// A sequence, step by step: what is given, answered, written and read.
"use strict";

const explorer = (() => {
  const TITLE = 26; // pixels above a panel

  function colorscale(colors) {
    return colors.map((color, k) => [k / (colors.length - 1), color]);
  }

  function findLargest(values) {
    let largest = 1e-9;
    for (const value of values) if (Math.abs(value) > largest) largest = Math.abs(value);
    return largest;
  }

  // ---- All steps

  // Return the panels of a scene from above to below: each has a height, an axis, and a function that makes its traces
  function listPanels(scene, colors) {
    const panels = [...scene.inputs, ...scene.answers].map((panel) => makePanel(panel, colors));
    if (scene.answers.length) panels[panels.length - 1].wrong = scene.wrong;
    const shares = { scale: colors.weights, range: [0, 1] };
    for (const memory of scene.memories) {
      const start = scene.memories.length > 1 ? `${memory.title}, ` : "";
      for (const head of memory.heads) {
        panels.push(makeImage(`${start}${head.name}: weights`, "slot", head.weights, { rows: memory.slots, ...shares }));
      }
      for (const panel of memory.panels) {
        panels.push(makeImage(`${start}${panel.title}`, "slot", panel.values, { rows: memory.slots, ...shares }));
      }
    }
    return panels;
  }

  function makePanel(panel, colors) {
    if (panel.kind === "lines") return makeLines(panel, colors);
    const options = panel.signed ? { scale: colors.signed } : { scale: colors.bits, range: [0, 1] };
    return makeImage(panel.title, panel.unit, panel.values, options);
  }

  function makeImage(title, unit, packed, { rows = null, scale, range = null }) {
    const { values, shape } = charts.unpack(packed);
    const [steps, count] = shape;
    const limit = findLargest(values);
    const [low, high] = range || [-limit, limit];
    return {
      title,
      height: Math.min(Math.max(count * 9, 44), 170),
      axis: {
        title: { text: unit }, type: "category", range: [count - 0.5, -0.5], showgrid: false, nticks: 6,
        ...(count === 1 ? { showticklabels: false } : {}),
      },
      makeTraces: (place) => [{
        type: "heatmap",
        z: charts.transpose(charts.toRows({ values }, steps, count)),
        y: rows || Array.from({ length: count }, (_, k) => String(k)),
        colorscale: colorscale(scale), zmin: low, zmax: high,
        hoverongaps: false,
        hovertemplate: `step %{x}, ${unit} %{y}: %{z:.3f}`,
        colorbar: {
          len: place.share, y: place.middle, thickness: 8, outlinewidth: 0, tickvals: [low, high], tickformat: ".2~g",
        },
      }],
    };
  }

  function makeLines(panel, colors) {
    return {
      title: panel.title,
      height: 130,
      axis: { title: { text: "value" } },
      makeTraces: () => panel.series.map((series, k) => ({
        type: "scatter", mode: "lines+markers", name: series.name, showlegend: panel.series.length > 1,
        y: Array.from(charts.unpack(series.values).values),
        line: { color: colors.lines[k % colors.lines.length], dash: k % 2 ? "dash" : "solid" },
        marker: { size: 5 },
        hovertemplate: "step %{x}: %{y:.4g}",
      })),
    };
  }

  function drawSteps(element, scene, colors, step) {
    const panels = listPanels(scene, colors);
    const total = panels.reduce((sum, panel) => sum + panel.height + TITLE, 0);
    const layout = {
      height: total + 80,
      showlegend: true,
      legend: { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom" },
      xaxis: {
        title: { text: "time step" }, range: [-0.5, scene.steps - 0.5], showgrid: false, zeroline: false,
        anchor: panels.length > 1 ? `y${panels.length}` : "y",
      },
      shapes: [makeCursor(step)],
      annotations: [],
    };
    const traces = [];
    let above = 0;
    panels.forEach((panel, k) => {
      const top = 1 - (above + TITLE) / total, bottom = Math.max(top - panel.height / total, 0);
      const name = k ? String(k + 1) : "";
      layout[`yaxis${name}`] = { ...panel.axis, domain: [bottom, top], zeroline: false };
      // Behind an image: what the image leaves out is neither zero nor one
      if (panel.axis.range) {
        layout.shapes.push({
          type: "rect", layer: "below", xref: "paper", yref: "paper", x0: 0, x1: 1, y0: bottom, y1: top,
          line: { width: 0 }, fillcolor: colors.masked,
        });
      }
      layout.annotations.push({
        text: panel.title, showarrow: false, xref: "paper", yref: "paper", x: 0, xanchor: "left", y: top,
        yanchor: "bottom",
      });
      for (const trace of panel.makeTraces({ share: top - bottom, middle: (top + bottom) / 2 })) {
        traces.push({ showlegend: false, ...trace, yaxis: `y${name}` });
      }
      if (panel.wrong && panel.wrong.length) {
        traces.push({
          type: "scatter", mode: "markers", name: "wrong step", showlegend: true, cliponaxis: false,
          x: panel.wrong, y: panel.wrong.map(() => 1), yaxis: `y${panels.length + 1}`,
          marker: { symbol: "x", size: 7, color: colors.wrong },
          hovertemplate: "step %{x}: wrong",
        });
        layout[`yaxis${panels.length + 1}`] = { overlaying: `y${name}`, range: [0, 1], visible: false };
      }
      above += panel.height + TITLE;
    });
    return charts.draw(element, traces, layout);
  }

  function makeCursor(step) {
    return {
      type: "rect", xref: "x", yref: "paper", x0: step - 0.5, x1: step + 0.5, y0: 0, y1: 1,
      line: { color: charts.getColor("--accent"), width: 2 }, fillcolor: charts.getColor("--accent-faint"),
    };
  }

  function moveCursor(element, step) {
    return Plotly.relayout(element, { "shapes[0].x0": step - 0.5, "shapes[0].x1": step + 0.5 });
  }

  // ---- One step

  // Return the arrays of a memory layer, unpacked once for a scene
  function unpackMemory(memory) {
    const unpackAll = (pairs) => pairs.map(([name, packed]) => ({ name, ...charts.unpack(packed) }));
    const heads = memory.heads.map((head) => ({
      name: head.name,
      weights: charts.unpack(head.weights),
      vectors: unpackAll(head.vectors),
      numbers: unpackAll(head.numbers),
    }));
    const contents = memory.memory && charts.unpack(memory.memory);
    const vectors = heads.flatMap((head) => head.vectors);
    return {
      slots: memory.slots,
      width: memory.width,
      heads,
      contents,
      largest: contents ? findLargest(contents.values) : 1,
      largestOfVectors: Math.max(...vectors.map((vector) => findLargest(vector.values)), 1e-9),
    };
  }

  function getStep(array, step) {
    const size = array.values.length / array.shape[0];
    return array.values.subarray(step * size, (step + 1) * size);
  }

  function drawStep(element, memory, colors, step) {
    const { slots, width, heads, contents } = memory;
    const vectors = heads.flatMap((head) =>
      head.vectors.map((vector) => ({ name: `${head.name}: ${vector.name}`, values: getStep(vector, step) }))
    );
    const rows = Math.min(Math.max(slots.length * 11, 110), 360), lower = 22 * vectors.length;
    const total = rows + (vectors.length ? lower + 60 : 0);
    const bottom = 1 - rows / total, split = contents ? 0.3 : 1;
    const bar = { thickness: 8, outlinewidth: 0, tickformat: ".2~g" };
    const traces = [{
      type: "heatmap", name: "weights", x: heads.map((head) => head.name), y: slots,
      z: charts.transpose(heads.map((head) => getStep(head.weights, step))),
      colorscale: colorscale(colors.weights), zmin: 0, zmax: 1, xgap: 2,
      showscale: !contents, colorbar: { ...bar, len: rows / total, y: (1 + bottom) / 2, tickvals: [0, 1] },
      hovertemplate: "%{x}, slot %{y}: weight %{z:.3f}",
    }];
    const layout = {
      height: total + 100,
      xaxis: { type: "category", domain: [0, contents ? split - 0.03 : 1], anchor: "y", side: "top", tickangle: -35 },
      yaxis: {
        type: "category", domain: [bottom, 1], range: [slots.length - 0.5, -0.5], title: { text: "slot" }, nticks: 12,
      },
    };
    if (contents) {
      const { largest } = memory;
      traces.push({
        type: "heatmap", name: "memory", y: slots, xaxis: "x2",
        z: charts.toRows(contents, slots.length, width, step * slots.length * width),
        colorscale: colorscale(colors.signed), zmin: -largest, zmax: largest,
        colorbar: { ...bar, len: rows / total, y: (1 + bottom) / 2, tickvals: [-largest, 0, largest] },
        hovertemplate: "slot %{y}, element %{x}: %{z:.3f}",
      });
      layout.xaxis2 = {
        domain: [split, 1], anchor: "y", side: "top", title: { text: "memory after the step" },
        range: [-0.5, width - 0.5], showgrid: false, zeroline: false,
      };
    }
    if (vectors.length) {
      const largest = memory.largestOfVectors;
      traces.push({
        type: "heatmap", name: "vectors", xaxis: "x3", yaxis: "y2",
        y: vectors.map((vector) => vector.name), z: vectors.map((vector) => vector.values),
        colorscale: colorscale(colors.signed), zmin: -largest, zmax: largest, ygap: 2,
        colorbar: { ...bar, len: lower / total, y: lower / total / 2, tickvals: [-largest, largest] },
        hovertemplate: "%{y}, element %{x}: %{z:.3f}",
      });
      layout.yaxis2 = { type: "category", domain: [0, lower / total], range: [vectors.length - 0.5, -0.5] };
      layout.xaxis3 = {
        domain: [contents ? split : 0.3, 1], anchor: "y2", range: [-0.5, width - 0.5], showgrid: false,
        zeroline: false, title: { text: "element of a slot" },
      };
    }
    return charts.draw(element, traces, layout);
  }

  // Return what each head does at a step, in words: its name, the slots, and its numbers
  function describeStep(memory, step) {
    return memory.heads.map((head) => {
      const weights = getStep(head.weights, step);
      const largest = Array.from(weights.keys())
        .filter((k) => weights[k] >= 0.01)
        .sort((a, b) => weights[b] - weights[a])
        .slice(0, 3);
      const slots = largest.map((k) => `${memory.slots[k]} (${weights[k].toFixed(2)})`).join(", ");
      const numbers = head.numbers.map((each) => {
        const shown = Array.from(getStep(each, step), (value) => String(Number(value.toPrecision(3))));
        return `${each.name} ${shown.join(" ")}`;
      });
      return [head.name, slots || "none above 0.01", numbers.join("; ")];
    });
  }

  return { describeStep, drawStep, drawSteps, moveCursor, unpackMemory };
})();
