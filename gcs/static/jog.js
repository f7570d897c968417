// Moving the camera by hand: the rate is sent again and again while a key is down, and the
// station lets it expire when nothing comes.

import { post } from "./api.js";

const PERIOD_MS = 80;
const RATES = { yaw: 18, pitch: 12, forward: 5 };
const KEYS = {
  ArrowLeft: { yaw: -1 },
  ArrowRight: { yaw: 1 },
  ArrowUp: { pitch: 1 },
  ArrowDown: { pitch: -1 },
  KeyW: { forward: 1 },
  KeyS: { forward: -1 },
};

export class Jog {
  constructor(panel, onError) {
    this.panel = panel;
    this.onError = onError;
    this.down = new Map();
    this.timer = null;
    this.waiting = false;
    for (const key of panel.querySelectorAll(".key")) {
      const { yaw = 0, pitch = 0, forward = 0 } = key.dataset;
      const move = { yaw: Number(yaw), pitch: Number(pitch), forward: Number(forward) };
      key.addEventListener("pointerdown", (event) => {
        key.setPointerCapture(event.pointerId);
        this.press(key, move, key);
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
        key.addEventListener(end, () => this.lift(key, key));
      }
    }
    window.addEventListener("blur", () => this.liftAll());
  }

  get enabled() {
    return !this.panel.hidden;
  }

  // Returns whether the key belongs to the camera.
  key(event, down) {
    const move = KEYS[event.code];
    if (!move || !this.enabled) return false;
    if (down && !event.repeat) this.press(event.code, move);
    else if (!down) this.lift(event.code);
    return true;
  }

  press(id, move, button) {
    if (this.down.has(id)) return;
    button?.classList.add("down-now");
    this.down.set(id, move);
    this.timer ??= setInterval(() => this.tick(), PERIOD_MS);
    this.tick();
  }

  lift(id, button) {
    button?.classList.remove("down-now");
    if (!this.down.delete(id) || this.down.size) return;
    clearInterval(this.timer);
    this.timer = null;
    this.waiting = false;
    this.tick();
  }

  liftAll() {
    for (const id of [...this.down.keys()]) this.lift(id, id instanceof Element ? id : undefined);
  }

  async tick() {
    if (this.waiting) return;
    const sum = (name) => RATES[name] * [...this.down.values()].reduce((s, m) => s + (m[name] || 0), 0);
    this.waiting = true;
    try {
      await post("/api/camera", {
        yaw_deg_s: sum("yaw"),
        gimbal_pitch_deg_s: sum("pitch"),
        forward_m_s: sum("forward"),
      });
    } catch (error) {
      this.liftAll();
      this.onError(error);
    } finally {
      this.waiting = false;
    }
  }
}
