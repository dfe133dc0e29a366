// The header's own script: rooms, the drawers, the palette.

import { startDrawers } from "../lib/drawer.js";
import { startPalette } from "./palette.js";
import { startRooms } from "./rooms.js";

export function start({ element, server }) {
  startRooms(element.querySelector("[data-home]").dataset.home);
  startDrawers();
  startPalette(async () => (await server.concept_names?.({}))?.names ?? []);
}
