// The header's own script: rooms, and the drawer behind the Train button.

import { startDrawers } from "../lib/drawer.js";
import { startRooms } from "./rooms.js";

export function start({ element }) {
  startRooms(element.querySelector("[data-home]").dataset.home);
  startDrawers();
}
