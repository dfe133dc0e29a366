// The heatmap of the Inspect tab as a picture, drawn by the browser.

export function downloadPicture(format) {
  const map = document.querySelector("#inspect-map .score-map.on");
  if (map) {
    map.dispatchEvent(new CustomEvent("readout-map-picture", { detail: format }));
    return;
  }
  const plot = document.querySelector("#inspect-heatmap .js-plotly-plot");
  if (!plot || !window.Plotly) return;
  const { width, height } = plot.layout;
  // On the page labels are HTML; a picture needs them inside.
  const labelled = (axis) => ({ ...axis, showticklabels: true });
  const { xaxis, yaxis } = plot.layout;
  const layout = {
    ...plot.layout,
    xaxis: labelled(xaxis),
    yaxis: labelled(yaxis),
    paper_bgcolor: "#ffffff",
  };
  const data = plot.data.map((trace) =>
    trace.text ? { ...trace, texttemplate: "%{text}" } : trace,
  );
  // Chromium draws no canvas beyond 16384 pixels.
  const scale = format === "svg" ? 1 : Math.min(2, 16000 / Math.max(width, height));
  window.Plotly.downloadImage(
    { data, layout, config: {} },
    { format, width, height, scale, filename: "readout" },
  );
}
