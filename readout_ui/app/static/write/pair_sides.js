// For an event of the app: the two sides of a contrast change places.

export function swapped(positive, negative) {
  return [negative, positive];
}
