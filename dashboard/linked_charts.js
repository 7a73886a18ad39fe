// Charts that keep their zoom and share a selection: Plotly.react on nodes that stay in place.
const states = new WeakMap();

// A point's custom data is its candidate, or a row that begins with it.
function nameOf(custom) {
  return (Array.isArray(custom) ? custom[0] : custom) ?? null;
}

function candidateOf(point) {
  return nameOf(point.customdata);
}

function pointsOf(trace, wanted) {
  if (!wanted.size) return null;
  const found = [];
  trace.customdata.forEach((custom, index) => {
    if (wanted.has(nameOf(custom))) found.push(index);
  });
  return found;
}

function themed(layout, parent) {
  const style = getComputedStyle(parent);
  const text = style.getPropertyValue("--st-text-color").trim() || style.color;
  const back = style.getPropertyValue("--st-background-color").trim() || "#fff";
  const font = { ...layout.font, color: text };
  const hoverlabel = { ...layout.hoverlabel, bgcolor: back, font: { color: text, size: 13 }, bordercolor: "#888" };
  return { ...layout, font, hoverlabel, autosize: true };
}

// A restyle draws all anew, so it is spared where the charts show the selection already.
function mark(state) {
  const wanted = new Set(state.selected);
  const text = JSON.stringify(state.selected);
  for (const chart of state.charts) {
    const { node } = chart;
    if (!node.data || chart.marked === text) continue;
    chart.marked = text;
    const indices = [];
    const selections = [];
    node.data.forEach((trace, index) => {
      indices.push(index);
      // Plotly greys what a box does not hold, the front's line and the ring, too.
      selections.push(trace.customdata ? pointsOf(trace, wanted) : null);
    });
    if (indices.length) window.Plotly.restyle(node, { selectedpoints: selections }, indices);
  }
}

function choose(state, names) {
  state.selected = [...new Set(names.filter((name) => name !== null))];
  mark(state);
  // With the time: Streamlit tells only of what differs from the last choice, and that one may have
  // been cleared in the table since.
  state.send("selected", { names: state.selected, at: Date.now() });
}

// They share what they show upwards, and so the zoom on it.
function follow(state, { node }, event) {
  if (!Object.keys(event).some((key) => key.startsWith("yaxis"))) return;
  const { range, autorange } = node.layout.yaxis;
  for (const { node: other } of state.charts) {
    const theirs = other.layout?.yaxis;
    // Whoever follows is told in turn to be followed: there is nothing to do by then.
    const isThere = autorange ? theirs?.autorange : String(theirs?.range) === String(range);
    if (!theirs || other === node || isThere) continue;
    window.Plotly.relayout(other, autorange ? { "yaxis.autorange": true } : { "yaxis.range": [...range] });
  }
}

function remove(charts) {
  for (const { node, observer } of charts) {
    observer?.disconnect();
    window.Plotly?.purge(node);
    node.remove();
  }
}

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  const root = parentElement.querySelector(".linked-charts");
  let state = states.get(root);
  if (!state) {
    state = { charts: [], selected: [], seen: null, send: null };
    states.set(root, state);
  }
  state.send = setStateValue;
  const incoming = JSON.stringify(data.selected);
  window.loadPlotly().then(async (Plotly) => {
    root.querySelector(".waiting")?.remove();
    if (incoming !== state.seen) {
      state.seen = incoming;
      state.selected = data.selected;
    }
    const wanted = new Set(state.selected);
    const colours = getComputedStyle(parentElement).getPropertyValue("--st-text-color");
    while (state.charts.length < data.figures.length) {
      const node = document.createElement("div");
      node.className = "linked-chart";
      root.append(node);
      state.charts.push({ node, drawn: null, zoom: {}, marked: null, observer: null });
    }
    remove(state.charts.splice(data.figures.length));
    for (const [i, chart] of [...state.charts].entries()) {
      const { node, zoom } = chart;
      const key = data.figures[i] + colours;
      if (chart.drawn === key) continue;
      const isNew = chart.drawn === null;
      chart.drawn = key;
      const figure = JSON.parse(data.figures[i]);
      const layout = themed(figure.layout, parentElement);
      for (const axis of ["xaxis", "yaxis"]) {
        // Plotly keeps a zoom only as long as the figure's own range stays the same.
        if (zoom[axis]) layout[axis] = { ...layout[axis], range: zoom[axis], autorange: false };
        if (zoom[axis] === null) layout[axis] = { ...layout[axis], range: undefined, autorange: true };
      }
      const config = {
        ...data.config,
        displayModeBar: "hover",
        modeBarButtonsToRemove: ["autoScale2d", "toImage"],
      };
      for (const trace of figure.data) {
        if (trace.customdata) trace.selectedpoints = pointsOf(trace, wanted);
      }
      leaveOutClouds(figure.data);
      chart.marked = JSON.stringify(state.selected);
      await Plotly.react(node, figure.data, layout, config);
      // It may have been removed while it was drawn.
      if (isNew && state.charts.includes(chart)) {
        drawClouds(node);
        node.on("plotly_afterplot", () => drawClouds(node));
        node.on("plotly_relayout", (event) => {
          for (const axis of ["xaxis", "yaxis"]) {
            if (`${axis}.range[0]` in event || `${axis}.range` in event) {
              zoom[axis] = [...node.layout[axis].range];
            } else if (event[`${axis}.autorange`]) zoom[axis] = null;
          }
          follow(state, chart, event);
        });
        node.on("plotly_click", (event) => {
          const name = candidateOf(event.points[0]);
          if (name === null) return;
          const more = event.event && (event.event.shiftKey || event.event.ctrlKey || event.event.metaKey);
          const others = more ? state.selected.filter((other) => other !== name) : [];
          const wasAlone = state.selected.length === 1 && state.selected[0] === name;
          choose(state, wasAlone ? [] : [...others, name]);
        });
        node.on("plotly_selected", (event) => {
          // Taking the box away below is told as well, as a selection of nothing.
          if (!event?.range && !event?.lassoPoints) return;
          // Plotly itself marks what the box holds, the ring as well, once this has returned.
          setTimeout(() => {
            Plotly.relayout(node, { selections: [] });
            chart.marked = null;
            choose(state, event.points.map(candidateOf));
          });
        });
        // The observer speaks at once, of the width that was just drawn; and a page that was
        // left has no width, which Plotly refuses.
        let width = node.offsetWidth;
        chart.observer = new ResizeObserver(() => {
          if (!node.isConnected || node.offsetWidth === 0 || node.offsetWidth === width) return;
          width = node.offsetWidth;
          Plotly.Plots.resize(node);
        });
        chart.observer.observe(node);
      }
    }
    mark(state);
    root.dataset.ready = "true";
  }).catch((error) => {
    root.textContent = `The charts cannot be drawn: ${error.message}`;
  });
  return () => {
    remove(state.charts.splice(0));
    states.delete(root);
  };
}
