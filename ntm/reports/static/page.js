// The page of a run: sections from its contents, and news of them where `ntm watch` serves the page.
"use strict";

(() => {
  const INTERVAL = 1000; // milliseconds between questions for news
  const elements = new Map(); // by name: what stays when the page is renewed
  const chosen = new Map(); // what the reader has chosen, by the ids of explorers
  let contents = null;
  let later = []; // what is drawn once its element is in the page: Plotly has to know how wide the element is

  // Text comes into the page by this function alone, as text
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function keep(name, makeElement) {
    if (!elements.has(name)) elements.set(name, makeElement());
    return elements.get(name);
  }

  function makeRemarks(remarks) {
    return remarks.map((text) => make("p", { class: "remark" }, text));
  }

  // ---- Tables

  function makeTable({ head, rows, marked = [] }) {
    const body = rows.map((row, k) => {
      const cells = row.map((cell, column) => make(column ? "td" : "th", column ? {} : { scope: "row" }, cell));
      return make("tr", marked.includes(k) ? { class: "marked" } : {}, ...cells);
    });
    const first = make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)));
    return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, first), make("tbody", {}, ...body)));
  }

  function makeTableSection(section) {
    const inner = [makeTable(section), ...makeRemarks(section.remarks)];
    if (!section.folded) return inner;
    const details = keep(section.id, () => make("details"));
    details.replaceChildren(make("summary", {}, section.rows.length === 1 ? "1 row" : `${section.rows.length} rows`), ...inner);
    return [details];
  }

  // ---- Charts

  function makeChart(chart) {
    const { yaxis, ...layout } = chart.figure.layout;
    const place = keep(chart.id, () => make("div", { class: "chart" }));
    const hasNumbers = yaxis.type !== "category";
    const logarithmic = keep(`${chart.id} logarithmic`, () => {
      const box = make("input", { type: "checkbox" });
      box.checked = yaxis.type === "log";
      return box;
    });
    const show = () => {
      const type = logarithmic.checked ? "log" : "linear";
      const named = chart.figure.data.filter((trace) => trace.showlegend !== false).length;
      const axis = hasNumbers ? { ...yaxis, type } : yaxis;
      // A legend of several lines takes nothing from the curves
      const height = 320 + 22 * Math.ceil(named / Math.max(Math.floor(place.clientWidth / 190), 1));
      return charts.draw(place, chart.figure.data, { height, showlegend: named > 1, ...layout, yaxis: axis });
    };
    logarithmic.onchange = show;
    later.push(show);
    const choice = hasNumbers ? [make("label", {}, logarithmic, " logarithmic")] : [];
    const caption = make("figcaption", {}, make("span", {}, chart.title), ...choice);
    return make("figure", {}, caption, place, ...makeRemarks(chart.remarks));
  }

  function makeChartsSection(section) {
    return [make("div", { class: "charts" }, ...section.charts.map(makeChart)), ...makeRemarks(section.remarks)];
  }

  // ---- Sequences, step by step

  function makeExplorerSection(section) {
    const columns = section.columns.map((column) => makeColumn(section.id, column, section.columns.length > 1));
    const beside = make("div", { class: "columns" }, ...columns.map((column) => column.element));
    const first = section.columns.find((column) => column.scenes.length);
    return first ? [makeControls(section.id, first.scenes, columns), beside] : [beside];
  }

  // Return the choice of a sequence and of a step, for all runs of a section
  function makeControls(id, scenes, columns) {
    const state = chosen.get(id) || { scene: 0, step: 0, timer: null };
    chosen.set(id, state);
    state.scene = Math.min(state.scene, scenes.length - 1);
    const options = scenes.map((scene, k) => make("option", { value: k }, scene.label));
    const select = make("select", { "aria-label": "sequence" }, ...options);
    select.value = state.scene;
    const slider = keep(`${id} slider`, () => make("input", { type: "range", min: 0, "aria-label": "time step" }));
    const output = make("output");
    const back = make("button", { type: "button", "aria-label": "one step back" }, "◀");
    const next = make("button", { type: "button", "aria-label": "one step on" }, "▶");
    const play = make("button", { type: "button" }, "play");

    const getLast = () => scenes[state.scene].steps - 1;
    const goTo = (step) => {
      state.step = Math.min(Math.max(step, 0), getLast());
      slider.max = getLast();
      slider.value = state.step;
      output.textContent = `step ${state.step} (0 to ${getLast()})`;
      return Promise.all(columns.map((column) => column.showStep(state.step)));
    };
    const showScene = async () => {
      await Promise.all(columns.map((column) => column.showScene(state.scene, goTo)));
      return goTo(state.step);
    };
    const stop = () => {
      clearInterval(state.timer);
      state.timer = null;
      play.textContent = "play";
    };
    const start = () => {
      play.textContent = "stop";
      state.timer = setInterval(() => goTo(state.step === getLast() ? 0 : state.step + 1), 400);
    };
    stop();
    select.onchange = () => {
      state.scene = Number(select.value);
      showScene();
    };
    slider.oninput = () => goTo(Number(slider.value));
    back.onclick = () => goTo(state.step - 1);
    next.onclick = () => goTo(state.step + 1);
    play.onclick = () => (state.timer ? stop() : start());
    later.push(showScene);
    return make("div", { class: "controls" }, make("label", {}, "sequence ", select), back, slider, next, play, output);
  }

  // Return what is shown of one run, and how another sequence or another step is shown
  function makeColumn(id, column, isNamed) {
    const name = `${id} ${column.name}`;
    const steps = keep(`${name} steps`, () => make("div", { class: "chart steps" }));
    const lines = make("div", { class: "lines" }), layers = make("div");
    let memories = [];
    const element = make(
      "div", { class: "column" },
      ...(isNamed ? [make("h3", {}, column.name)] : []),
      ...makeRemarks(column.remarks),
      ...(column.scenes.length ? [lines, steps, layers] : []),
      ...(column.checkpoint ? [make("p", { class: "remark checkpoint" }, `At ${column.checkpoint}.`)] : []),
    );
    const showScene = async (number, goTo) => {
      if (!column.scenes.length) return;
      const scene = column.scenes[Math.min(number, column.scenes.length - 1)];
      lines.replaceChildren(...scene.lines.map((text) => make("p", {}, text)));
      memories = scene.memories.map((memory, k) => ({
        unpacked: explorer.unpackMemory(memory),
        chart: keep(`${name} step ${k}`, () => make("div", { class: "chart step" })),
        words: make("div", { class: "words" }),
        heading: make("h4", {}, memory.title),
        notes: makeRemarks(memory.notes),
      }));
      layers.replaceChildren(...memories.flatMap((each) => [each.heading, each.words, each.chart, ...each.notes]));
      if (!memories.length) {
        layers.append(...makeRemarks(["This network has no memory: there is nothing to read or write."]));
      }
      await explorer.drawSteps(steps, scene, contents.colors, 0);
      steps.removeAllListeners("plotly_click");
      steps.on("plotly_click", (event) => goTo(Math.round(event.points[0].x)));
    };
    const showStep = async (step) => {
      if (!column.scenes.length) return;
      for (const each of memories) {
        const rows = explorer.describeStep(each.unpacked, step);
        each.words.replaceChildren(makeTable({ head: ["head", "slots (weight)", "what the head says"], rows }));
        await explorer.drawStep(each.chart, each.unpacked, contents.colors, step);
      }
      if (steps.layout) await explorer.moveCursor(steps, step); // Else it is still being drawn
    };
    return { element, showScene, showStep };
  }

  // ---- The page

  const KINDS = { table: makeTableSection, charts: makeChartsSection, explorer: makeExplorerSection };

  async function show(given) {
    contents = given;
    later = [];
    for (const state of chosen.values()) clearInterval(state.timer);
    document.title = contents.title;
    const made = `${contents.names.join(", ")} · ${contents.made} · ntm-lasagne ${contents.version}`;
    const lead = contents.lead
      ? [make("p", { class: "lead" }, make("strong", { class: "state" }, contents.state), " ", contents.lead)]
      : [];
    const header = make("header", {}, make("h1", {}, contents.title), make("p", { class: "made" }, made), ...lead, getNews());
    const sections = contents.sections.map((section) =>
      make("section", { "data-id": section.id }, make("h2", {}, section.title), ...KINDS[section.kind](section))
    );
    const main = document.getElementById("page");
    main.replaceChildren(header, ...sections);
    await Promise.all(later.map((each) => each()));
    main.dataset.drawn = "yes";
  }

  // ---- News

  function getNews() {
    return keep("news", () => make("p", { id: "news", role: "status" }));
  }

  async function watch() {
    let tag = null;
    for (;;) {
      try {
        const answer = await fetch("contents.json", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
        if (answer.status === 200) {
          tag = answer.headers.get("ETag");
          await show(await answer.json());
        }
        getNews().textContent = contents.news;
      } catch (error) {
        getNews().textContent = `No answer from ntm watch (${error.message}): this page shows what came last.`;
      }
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
  }

  const embedded = document.getElementById("contents");
  if (embedded) show(JSON.parse(embedded.textContent));
  else watch();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => contents && show(contents));
})();
