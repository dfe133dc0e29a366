(text) => {
  if (!text) return [];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(['\ufeff', text], { type: 'text/csv' }));
  link.download = 'readout.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return [];
}
