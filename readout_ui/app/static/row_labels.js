element.addEventListener('click', (event) => {
  const label = event.target.closest('[data-concept]');
  if (label) trigger('select', { concept: label.dataset.concept });
});
