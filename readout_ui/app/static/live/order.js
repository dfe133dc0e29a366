// Which rows the bars show and in which order, without flicker: a row moves only when it is clearly
// (by more than `margin`) ahead of the one above it, and comes in only when clearly ahead of the
// lowest one shown.

// `shown`: indices on screen, top first. `values`: one number per index. Returns the new indices.
export function steadyOrder(shown, values, k, margin) {
  const order = shown.filter((index) => index < values.length).slice(0, k);
  const inside = new Set(order);
  const others = [...values.keys()].filter((index) => !inside.has(index));
  others.sort((one, other) => values[other] - values[one]);
  while (order.length < Math.min(k, values.length)) order.push(others.shift());
  for (const index of others) {
    const lowest = order.reduce((low, each) => (values[each] < values[low] ? each : low), order[0]);
    if (!(values[index] > values[lowest] + margin)) break;
    order[order.indexOf(lowest)] = index;
  }
  // Each exchange puts a larger value higher, so this ends.
  for (let place = 1; place < order.length; place += 1) {
    const [above, below] = [order[place - 1], order[place]];
    if (values[below] > values[above] + margin) {
      [order[place - 1], order[place]] = [below, above];
      place = Math.max(0, place - 2);
    }
  }
  return order;
}
