// The level of control: asked for by buttons and keys, shown as the station tells it.

import { post } from "./api.js";

const HOLD_MS = 1000;
const HALT_MS = 1500; // the station answers an override at once, whatever its loop does
const TRIES = 12;
const PAUSE_MS = 150;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Control {
  constructor(group, onError) {
    this.group = group;
    this.onError = onError;
    this.level = "OFF";
    this.wish = 0; // counts what the operator asked for; a newer wish ends an older one
    this.timer = null;
    for (const button of group.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        button.blur(); // or a later key would press it again
        this.run(() => (button.dataset.ask ? this.ask(button.dataset.ask) : this.confirm()));
      });
    }
    window.addEventListener("blur", () => this.letGo());
  }

  get enabled() {
    return !this.group.hidden;
  }

  show({ camera, control, control_confirmed: confirmed, control_reason: reason }) {
    this.group.hidden = !camera;
    this.level = control;
    for (const button of this.group.querySelectorAll("[data-ask]")) {
      button.setAttribute("aria-pressed", String(button.dataset.ask === control));
    }
    this.group.dataset.level = control;
    this.group.dataset.confirmed = confirmed ? "yes" : "no";
    this.group.querySelector("#confirm").hidden = control !== "FOLLOW" || confirmed;
    const line = this.group.querySelector("#control-reason");
    line.textContent = line.title = control === "OFF" ? "by hand" : reason ?? "waiting for a target";
  }

  // Returns whether the key belongs to the level of control.
  key(event, down) {
    if (!this.enabled) return false;
    if (event.code === "KeyM" && down) {
      if (!event.repeat) this.run(() => this.override());
      return true;
    }
    if (event.code !== "KeyF") return false;
    if (!down) this.letGo();
    else if (!event.repeat) this.hold();
    return true;
  }

  hold() {
    this.letGo();
    this.group.classList.add("holding");
    this.timer = setTimeout(() => {
      this.letGo();
      this.run(() => this.follow());
    }, HOLD_MS);
  }

  letGo() {
    clearTimeout(this.timer);
    this.group.classList.remove("holding");
  }

  async run(wish) {
    try {
      await wish();
    } catch (error) {
      this.onError(error);
    }
  }

  ask(level) {
    this.wish += 1;
    this.letGo();
    return post("/api/follow", { level });
  }

  confirm() {
    return post("/api/follow/confirm");
  }

  // FOLLOW and its confirmation; a target is held only some frames after the level was granted.
  async follow() {
    if (this.level !== "FOLLOW") await this.ask("FOLLOW");
    const wish = this.wish;
    for (let left = TRIES; wish === this.wish; left -= 1) {
      try {
        await this.confirm();
        return;
      } catch (error) {
        if (error.problem?.status !== 409 || left <= 1) throw error;
      }
      await pause(PAUSE_MS);
    }
  }

  // The operator takes over; a station that cannot be commanded has nothing to take.
  override() {
    this.wish += 1;
    this.letGo();
    return post("/api/follow/override", { source: "key" }, HALT_MS);
  }
}
