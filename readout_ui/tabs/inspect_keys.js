if (!window.readoutInspectKeys) {
  window.readoutInspectKeys = true;
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    if (!event.target.closest('#inspect-prompt')) return;
    event.preventDefault();
    document.querySelector('#inspect-read')?.click();
  }, true);
}
