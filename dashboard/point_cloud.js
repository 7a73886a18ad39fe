// Many alike points, drawn as the corners of one path: as a shape each, a browser takes tenths of a
// second to lay them out. Of such a trace Plotly draws a single point, of which the others have
// their looks, and still answers for all of them where one points, clicks or selects.
const FEWEST = 100;
const DIMMED = 0.2; // of what is not selected, as with Plotly's own points
let numMarkers = 0;

function isCloud(trace) {
  return (trace.customdata?.length ?? 0) >= FEWEST;
}

// Before Plotly draws the traces.
function leaveOutClouds(traces) {
  for (const trace of traces) {
    if (isCloud(trace)) trace.marker = { ...trace.marker, maxdisplayed: 1 };
  }
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A marker that looks like a shape of Plotly's, and a path that has it at every place.
function cloud(shape, opacity, places) {
  const id = `cloud-${numMarkers++}`;
  const marker = svg("marker", { id, markerUnits: "userSpaceOnUse", overflow: "visible", orient: 0 });
  const look = svg("path", { d: shape.getAttribute("d"), style: shape.getAttribute("style") });
  look.style.opacity = opacity;
  look.style.visibility = "visible";
  marker.append(look);
  const at = Object.fromEntries(["start", "mid", "end"].map((part) => [`marker-${part}`, `url(#${id})`]));
  return [marker, svg("path", { d: `M${places.join("L")}`, fill: "none", ...at })];
}

// Whenever Plotly has drawn: beneath its own traces, where they move as those do.
function drawClouds(node) {
  const layer = node.querySelector(".scatterlayer");
  if (!layer) return;
  layer.querySelector(".clouds")?.remove();
  const { xaxis, yaxis } = node._fullLayout;
  const clouds = svg("g", { class: "clouds" });
  for (const group of layer.querySelectorAll("g.trace")) {
    const points = group.__data__;
    const { trace } = points[0];
    const shape = isCloud(trace) && group.querySelector("path.point");
    if (!shape) continue;
    shape.style.visibility = "hidden";
    const chosen = trace.selectedpoints && new Set(trace.selectedpoints);
    const faint = [];
    const full = [];
    points.forEach((point, index) => {
      const place = `${xaxis.c2p(point.x).toFixed(1)},${yaxis.c2p(point.y).toFixed(1)}`;
      (chosen && !chosen.has(index) ? faint : full).push(place);
    });
    const { opacity } = trace.marker;
    if (faint.length) clouds.append(...cloud(shape, DIMMED * opacity, faint));
    if (full.length) clouds.append(...cloud(shape, opacity, full));
  }
  layer.prepend(clouds);
}
