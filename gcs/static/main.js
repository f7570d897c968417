// Wiring: stream → view and panel, pointer and keys → requests.

import { get, post } from "./api.js";
import { Control } from "./control.js";
import { Jog } from "./jog.js";
import { Panel, refused, toast } from "./panel.js";
import { MIN_TARGET_PX, Selection } from "./select.js";
import { Stream } from "./stream.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const view = new View(at("view"));
const panel = new Panel(view);
const jog = new Jog(at("jog"), refused);
const control = new Control(at("control"), refused);

const stream = new Stream(
  (header, bitmap, receivedMs) => {
    view.show(header, bitmap, receivedMs);
    panel.update(header);
    control.show(header);
  },
  (connected, reason) => {
    panel.link(connected, reason);
    if (!connected) askForToken();
  },
);

async function start(body, shown) {
  view.pending = shown;
  view.draw();
  try {
    // A new box on a running track is a new target; one that is refused leaves the old one.
    await post("/api/tracking/start", { ...body, replace: true });
  } catch (error) {
    refused(error);
  } finally {
    view.pending = null;
    view.draw();
  }
}

async function stop() {
  try {
    await post("/api/tracking/stop");
  } catch (error) {
    if (error.problem?.status !== 409) throw error;
  }
}

// STOP: the vehicle is neutral at once and its pilot's again, whatever the track does.
function halt() {
  jog.liftAll();
  const wishes = [stop()];
  if (panel.header?.camera !== false) wishes.unshift(control.override());
  for (const wish of wishes) wish.catch(unconfirmed);
}

function unconfirmed(error) {
  if (error.problem?.status !== 0) refused(error);
  else toast("STOP not confirmed", error.problem.detail, "take the vehicle over by its sticks");
}

const selection = new Selection(view, {
  onBegin(frameId) {
    stream.hold(frameId);
    const going = control.level === "OFF" ? "" : " · the vehicle goes on";
    at("frozen").textContent = `picture ${frameId} stands still${going} · Esc cancels`;
    at("frozen").classList.toggle("going", going !== "");
    at("frozen").hidden = false;
    at("hint").hidden = true;
  },
  onBox(box, frameId) {
    if (Math.min(box[2], box[3]) < MIN_TARGET_PX) {
      toast("Box too small", `it covers ${Math.round(box[2])} × ${Math.round(box[3])} px`, `draw at least ${MIN_TARGET_PX} px a side`);
      return;
    }
    start({ box, units: "px", frame_id: frameId }, box);
  },
  onPoint(point, frameId) {
    if (panel.header?.state === "TRACKING") {
      toast("Tracking", "a click does not change the target", "drag a new box, or stop with Space", "warn");
      return;
    }
    start({ point, units: "px", frame_id: frameId }, null);
  },
  onEnd() {
    at("frozen").hidden = true;
  },
});

function toggle(button, on) {
  button.setAttribute("aria-pressed", String(on));
  return on;
}

function toggleBox() {
  view.hidden = toggle(at("hide"), !view.hidden);
  view.draw();
}

function toggleNight() {
  document.body.classList.toggle("night", toggle(at("night"), !document.body.classList.contains("night")));
}

at("stop").addEventListener("click", halt);
at("again").addEventListener("click", () => post("/api/source/reopen").catch(refused));
at("hide").addEventListener("click", toggleBox);
at("night").addEventListener("click", toggleNight);

const KEYS = {
  Space: halt,
  Escape: () => selection.cancel(),
  KeyH: toggleBox,
  KeyN: toggleNight,
};

window.addEventListener("keydown", (event) => {
  if (at("sign-in").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (jog.key(event, true) || control.key(event, true)) {
    event.preventDefault();
    return;
  }
  const action = KEYS[event.code];
  if (!action || event.repeat) return;
  event.preventDefault();
  action();
});
window.addEventListener("keyup", (event) => {
  // A button in focus would take the key for a press of its own.
  if (KEYS[event.code] && !at("sign-in").open) event.preventDefault();
  jog.key(event, false);
  control.key(event, false);
});

async function askForToken() {
  try {
    await get("/api/status");
  } catch (error) {
    if (error.problem?.status === 401 && !at("sign-in").open) at("sign-in").showModal();
  }
}

at("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("/api/sign-in", { token: at("token").value });
    at("sign-in").close();
  } catch (error) {
    at("sign-in").close();
    refused(error);
    at("sign-in").showModal();
  }
});

setInterval(() => panel.tick(), 100);
askForToken().finally(() => stream.open());
