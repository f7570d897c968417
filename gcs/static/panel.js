// State word, figures, toasts: everything around the picture.

const at = (id) => document.getElementById(id);

const STALE_MS = 500;
const SILENT_MS = 2000; // the station sends its state several times a second, video or not
const TOAST_MS = 7000;
const MAX_TOASTS = 4;

function text(id, value) {
  const node = at(id);
  if (node.textContent !== value) node.textContent = value;
}

function cell(name, value) {
  at(`${name}-cell`).hidden = value === null;
  if (value !== null) text(name, value);
}

const ms = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
const fps = (value) => (value ? `${value.toFixed(value < 10 ? 1 : 0)} fps` : "–");

export function toast(title, detail, mend, tone = "bad") {
  const box = document.createElement("div");
  box.className = `toast ${tone}`;
  const head = document.createElement("b");
  head.textContent = title;
  box.append(head, detail);
  if (mend) {
    const small = document.createElement("small");
    small.textContent = mend;
    box.append(small);
  }
  const list = at("toasts");
  list.append(box);
  while (list.children.length > MAX_TOASTS) list.firstChild.remove();
  setTimeout(() => box.remove(), TOAST_MS);
}

export function refused(error) {
  const problem = error.problem ?? { title: "Error", detail: String(error) };
  toast(problem.title, problem.detail, problem.mend);
}

const TOLD = {
  lost: ["Target lost", "warn"],
  found: ["Target found", "good"],
  log_failed: ["Flight log failed", "bad"],
  frame_refused: ["Engine failed", "bad"],
  engine_recovered: ["Engine", "good"],
  learning_failed: ["Engine", "warn"],
  override: ["By hand", "warn"],
  control_released: ["Control released", "warn"],
  control_failed: ["Vehicle", "bad"],
  loop_error: ["Station error", "bad"],
  video_stalled: ["Video", "warn"],
  video_ended: ["Video", "warn"],
};

export class Panel {
  constructor(view) {
    this.view = view;
    this.header = null;
    this.linked = false;
    this.linkReason = "";
    this.notice = null;
    this.linkLostMs = performance.now();
    this.heardMs = performance.now();
  }

  get answering() {
    return this.linked && performance.now() - this.heardMs < SILENT_MS;
  }

  link(connected, reason) {
    if (this.linked && !connected) this.linkLostMs = performance.now();
    if (connected) this.heardMs = performance.now();
    this.linked = connected;
    this.linkReason = reason;
    this.tick();
  }

  update(header) {
    this.header = header;
    this.heardMs = performance.now();
    const level = header.state === "TRACKING" ? header.level : header.state;
    const fill = at("score-fill");
    fill.style.width = `${100 * (header.score ?? 0)}%`;
    fill.dataset.level = level ?? "";
    const [lost, low] = header.thresholds ?? [0, 0];
    at("mark-lost").style.left = `${100 * lost}%`;
    at("mark-low").style.left = `${100 * low}%`;
    text("score-value", header.score === null ? "–" : header.score.toFixed(2));
    text("track-fps", fps(header.track_fps));
    text("source-fps", fps(header.source_fps));
    text("update", ms(header.latency.update_ms));
    text("dropped", String(header.dropped));
    text("engine", header.engine || "–");
    text("source", header.source || "–");
    cell("cle", header.truth ? this.error(header) : null);
    cell("battery", header.battery_percent === null ? null : `${header.battery_percent.toFixed(0)} %`);
    cell("height", header.height_m === null ? null : `${header.height_m.toFixed(0)} m`);
    this.record(header);
    at("stop").disabled = header.state === "IDLE" && header.control === "OFF";
    at("hint").hidden = header.state !== "IDLE" || header.video !== "LIVE" || !this.view.bitmap || this.view.frozen;
    at("jog").hidden = !header.camera;
    this.tell(header.notice);
  }

  error({ truth, frame_id: frameId }) {
    if (frameId !== null && truth.box === null) return "hidden";
    return truth.cle_px === null ? "–" : `${truth.cle_px.toFixed(1)} px`;
  }

  record(header) {
    const state = header.log_error && header.state !== "IDLE" ? "failed" : header.recording ? "yes" : "no";
    at("record").dataset.on = state;
    at("record").title = header.log_error ?? header.recording ?? "A flight is logged while a target is tracked";
    text("record-text", state === "yes" ? "REC" : state === "failed" ? "NOT LOGGED" : "no flight");
  }

  tell(notice) {
    if (!notice || notice.number === this.notice) return;
    const first = this.notice === null;
    this.notice = notice.number;
    const told = TOLD[notice.kind];
    if (told && !first) toast(told[0], notice.message, "", told[1]);
  }

  // Capture to now: age when it was sent, half the way there and back, and the time since.
  age() {
    const shown = this.view.header;
    if (!shown || shown.age_ms === null) return null;
    const way = (shown.latency.round_trip_ms ?? 0) / 2;
    return shown.age_ms + Math.min(way, 250) + performance.now() - this.view.receivedMs;
  }

  // Called a few times a second: ages grow by themselves when nothing arrives.
  tick() {
    const age = this.age();
    const { header } = this;
    const frozen = this.view.frozen;
    const late = age === null || age > STALE_MS;
    const stale = !this.answering || header === null || header.video !== "LIVE" || (late && !frozen);
    text("age", age === null ? "–" : age < 10000 ? `${age.toFixed(0)} ms` : `${(age / 1000).toFixed(0)} s`);
    at("age").className = age > STALE_MS ? "bad" : age > 250 ? "warn" : "";
    this.word(stale);
    this.view.canvas.classList.toggle("stale", stale);
    document.body.classList.toggle("cold", stale);
    at("stale").hidden = !stale;
    if (stale) this.explain(age);
  }

  word(stale) {
    const { header } = this;
    let word = "IDLE";
    if (!this.answering) word = "NO LINK";
    else if (header?.state === "LOST") word = "LOST";
    else if (stale) word = "NO VIDEO";
    else if (header.state === "TRACKING") word = header.level === "LOW" ? "LOW" : "TRACKING";
    at("state").dataset.state = word;
    text("state-word", word);
  }

  explain(age) {
    const { header } = this;
    at("again").hidden = !(this.linked && header?.video === "ENDED");
    if (!this.answering) {
      const since = (performance.now() - (this.linked ? this.heardMs : this.linkLostMs)) / 1000;
      text("stale-title", `NO LINK ${since.toFixed(1)} s`);
      text("stale-detail", this.linkReason || "the station does not answer; trying again");
    } else if (header?.video === "ENDED") {
      text("stale-title", "VIDEO ENDED");
      text("stale-detail", header.source);
    } else if (age === null) {
      text("stale-title", "NO VIDEO YET");
      text("stale-detail", header?.video_message ?? "waiting for the first frame");
    } else {
      text("stale-title", `NO VIDEO ${(age / 1000).toFixed(1)} s`);
      text("stale-detail", header?.video_message ?? "");
    }
  }
}
