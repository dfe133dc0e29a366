element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-run]');
  if (button) trigger('select', { run: button.dataset.run });
});
