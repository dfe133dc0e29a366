// A map in the page: shown while there is a packed value, gone without one.

import { unpackMap } from "./data.js";
import { buildParts } from "./parts.js";
import { MapView } from "./view.js";

export function start({ element, trigger, props, watch }) {
  const host = element.querySelector(".score-map");
  let mapView = null;
  const showMap = () => {
    host.classList.toggle("on", Boolean(props.value));
    if (!props.value) {
      if (mapView) mapView.map = null;
      mapView = null;
      host.replaceChildren();
      return;
    }
    mapView ||= new MapView(buildParts(host, host.dataset.group), trigger);
    mapView.show(unpackMap(props.value));
  };
  watch("value", showMap);
  showMap();
}
