// Draws every panel in the page's colours, and again when the reader changes colours, x axis or the loss's scale.
"use strict";
(() => {
  const panels = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const choice = (id) => document.getElementById(id);
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null; // the reader's own choice; null: the system's

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const titles = { steps: "step", tokens: "tokens", hours: "hours of training" };

  function applyTheme() {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
  }

  // Lines where an attempt continued from a checkpoint.
  function marks(panel, axis) {
    const places = panel.marks ? panel.marks[axis] : [];
    return {
      shapes: places.map((x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
        line: { color: colour("--hold"), width: 1.2, dash: "dot" } })),
      annotations: panel.id !== "loss" ? [] : places.slice(0, 8).map((x) => ({ x, y: 1, xref: "x", yref: "paper",
        text: "resumed", showarrow: false, textangle: -90, xanchor: "right", yanchor: "top",
        font: { size: 11, color: colour("--hold") } })),
    };
  }

  function layoutOf(panel, axis) {
    const lines = { gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--grid"),
      automargin: true };
    const byStep = panel.traces.some((trace) => trace.xs);
    const stepAxis = { title: { text: titles[axis] }, tickformat: axis === "steps" ? "," : "~s" };
    const given = panel.layout;
    const scale = panel.id === "loss" ? { type: choice("scale").value } : {};
    return {
      margin: { l: 50, r: 16, t: 34, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "inherit", size: 12.5, color: colour("--text") }, hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--text") },
      showlegend: panel.traces.length > 1 && panel.traces[0].type !== "heatmap",
      ...given, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", ...given.legend }, ...marks(panel, axis),
      xaxis: { ...lines, ...(byStep ? stepAxis : {}), ...given.xaxis },
      yaxis: { ...lines, ...given.yaxis, ...scale },
    };
  }

  function draw() {
    const axis = choice("axis").value;
    for (const panel of panels) {
      const traces = panel.traces.map(({ xs, ...trace }) => (xs ? { ...trace, x: xs[axis] } : trace));
      Plotly.react(panel.id, traces, layoutOf(panel, axis), { responsive: true, displaylogo: false,
        modeBarButtons: [["toImage", "resetScale2d"]] });
    }
  }

  function search(event) {
    const wanted = event.target.value.toLowerCase();
    for (const row of event.target.parentElement.querySelectorAll("tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  }

  choice("axis").addEventListener("change", draw);
  choice("scale").addEventListener("change", draw);
  choice("theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    applyTheme();
    draw();
  });
  system.addEventListener("change", () => { applyTheme(); draw(); });
  for (const box of document.querySelectorAll(".search")) box.addEventListener("input", search);
  applyTheme();
  draw();
})();
