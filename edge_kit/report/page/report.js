"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)"), fine = matchMedia("(pointer: fine)"), narrow = matchMedia("(max-width: 600px)");
  const table = document.getElementById("table"), form = document.getElementById("filters");
  const rows = [...table.tBodies[0].rows];
  const plots = [...document.querySelectorAll("[data-figure]")].map(place => {
    const script = place.querySelector("script");
    const figure = JSON.parse(script.textContent);
    script.remove();
    return { place, figure, drawn: false };
  });
  const config = { displayModeBar: false, responsive: true, showTips: false, plotlyServerURL: "" };

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  function shownRows() { return new Set(rows.filter(row => !row.hidden).map(row => Number(row.dataset.number))); }

  // One trace in the colours of the page, without the points whose rows are filtered out.
  function dressed(trace, shown) {
    const meta = trace.meta || {}, made = { ...trace };
    if (meta.scale) made.colorscale = [[0, colour("--low")], [1, colour("--high")]];
    if (meta.colour !== undefined) {
      const own = colour(`--c${meta.colour}`);
      if (made.line) made.line = { ...made.line, color: own };
      if (made.mode === "lines" && !made.line) made.line = { color: own };
      if (made.mode !== "lines") {
        made.marker = { ...made.marker, color: own };
        if (made.marker.line) made.marker.line = { ...made.marker.line, color: colour("--ground") };
        if (made.marker.pattern) made.marker.pattern = { ...made.marker.pattern, fgcolor: colour("--ground"), fillmode: "overlay" };
      }
    }
    if (!meta.rows) return made;
    const kept = made.customdata.map((number, i) => shown.has(number) ? i : -1).filter(i => i >= 0);
    for (const name of ["x", "y", "customdata", "text"]) if (made[name]) made[name] = kept.map(i => made[name][i]);
    if (made.marker) {
      made.marker.size = kept.map(i => made.marker.size[i]);
      made.marker.symbol = kept.map(i => made.marker.symbol[i]);
    }
    return made;
  }

  function layoutOf(layout) {
    const axis = { color: colour("--text"), gridcolor: colour("--line"), linecolor: colour("--soft"), zeroline: false, automargin: true, fixedrange: !fine.matches };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: narrow.matches ? 12 : 13 },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--soft"), font: { color: colour("--text") }, align: "left" },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      margin: { l: 10, r: 10, t: 30, b: 10 },
      dragmode: fine.matches ? "zoom" : false,
      xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    };
  }

  function draw(plot) {
    if (plot.place.closest("details:not([open])")) return;
    plot.drawn = true;
    const shown = shownRows();
    Plotly.react(plot.place, plot.figure.data.map(trace => dressed(trace, shown)), layoutOf(plot.figure.layout), config);
  }

  function drawAll() { for (const plot of plots) draw(plot); }

  function filter() {
    const asked = Object.fromEntries(new FormData(form)), words = asked.text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.dataset.text.toLowerCase();
      row.hidden = !(words.every(word => text.includes(word)) && ["runtime", "version", "family"].every(name => !asked[name] || row.dataset[name] === asked[name]));
    }
    document.getElementById("shown").textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
    for (const plot of plots) if (plot.figure.data.some(trace => trace.meta && trace.meta.rows)) draw(plot);
  }

  function sort(button) {
    const heading = button.closest("th"), place = Number(button.dataset.sort);
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => row.cells[place].dataset.order;
    const measured = row => value(row) !== undefined;
    const number = rows.some(measured);
    const ordered = [...rows].sort((a, b) => {
      if (number && measured(a) !== measured(b)) return measured(a) ? -1 : 1; // what was not measured stays below
      const order = number && measured(a) ? value(a) - value(b) : textOf(a, place).localeCompare(textOf(b, place));
      return up ? order : -order;
    });
    table.tBodies[0].append(...ordered);
  }

  function textOf(row, place) { return row.cells[place].textContent; }

  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  table.tHead.addEventListener("click", event => { const button = event.target.closest("button"); if (button) sort(button); });
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => { for (const plot of plots) if (details.contains(plot.place)) draw(plot); });
  }
  for (const query of [dark, narrow, fine]) query.addEventListener("change", drawAll);
  addEventListener("hashchange", reveal);
  filter();
  drawAll();
  reveal();
})();
