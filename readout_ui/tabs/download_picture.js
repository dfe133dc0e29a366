(format) => {
  const plot = document.querySelector('#inspect-heatmap .js-plotly-plot');
  if (!plot || !window.Plotly) return;
  const { width, height } = plot.layout;
  const layout = { ...plot.layout, paper_bgcolor: '#ffffff' };
  // Chromium draws no canvas beyond 16384 pixels.
  const scale = format === 'svg' ? 1 : Math.min(2, 16000 / Math.max(width, height));
  window.Plotly.downloadImage(
    { data: plot.data, layout, config: {} },
    { format, width, height, scale, filename: 'readout' },
  );
}
