// The canvas: picture and box are drawn in one go, so the box lies on its own pixels.

import { fit, toView } from "./geometry.js";

const TONES = { TRACKING: "#5be49b", LOW: "#ffc14d", LOST: "#ff6b6b" };

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.ink = canvas.getContext("2d", { alpha: false });
    this.bitmap = null;
    this.header = null;
    this.receivedMs = 0;
    this.frozen = false;
    this.hidden = false;
    this.drag = null;
    this.pending = null;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.ratio = ratio;
    this.draw();
  }

  // While a box is drawn the picture stands still, and so does its frame id.
  show(header, bitmap, receivedMs) {
    if (this.frozen) {
      bitmap?.close();
      return;
    }
    if (bitmap) {
      this.bitmap?.close();
      this.bitmap = bitmap;
      this.receivedMs = receivedMs;
      this.header = header;
    } else if (this.header) {
      this.header = { ...this.header, state: header.state, level: header.level };
    }
    this.draw();
  }

  place() {
    const size = this.header?.size;
    if (!size) return null;
    return fit(this.canvas.clientWidth, this.canvas.clientHeight, size[0], size[1]);
  }

  draw() {
    const { ink } = this;
    ink.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    ink.fillStyle = "#020304";
    ink.fillRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    const place = this.place();
    if (!place || !this.bitmap) return;
    ink.drawImage(this.bitmap, place.x, place.y, place.w, place.h);
    const { header } = this;
    // A track may end while the picture stays: a box of nobody is not drawn over it.
    const tracked = header.box && header.state !== "IDLE";
    if (tracked && !this.hidden && !this.frozen) this.drawTarget(place, header);
    if (this.drag) this.drawDrag(place, this.drag);
    else if (this.pending) this.drawDrag(place, this.pending);
  }

  drawTarget(place, header) {
    const { ink } = this;
    const mode = header.state === "LOST" ? "LOST" : header.level === "LOW" ? "LOW" : "TRACKING";
    const [x, y, w, h] = toView(place, header.box);
    ink.save();
    ink.beginPath();
    ink.rect(place.x, place.y, place.w, place.h);
    ink.clip();
    ink.globalAlpha = mode === "LOST" ? 0.6 : 1;
    ink.setLineDash(mode === "LOW" ? [9, 6] : mode === "LOST" ? [2, 6] : []);
    this.outline(x, y, w, h, TONES[mode]);
    ink.setLineDash([]);
    if (mode === "LOST") this.cross(x + w / 2, y + h / 2, TONES.LOST);
    const score = header.score === null ? "" : ` ${header.score.toFixed(2)}`;
    const word = mode === "LOST" ? "LOST, last seen here" : mode + score;
    this.label(word, x, y > place.y + 24 ? y - 7 : y + h + 17, TONES[mode]);
    ink.restore();
  }

  outline(x, y, w, h, tone) {
    const { ink } = this;
    ink.strokeStyle = "#000a";
    ink.lineWidth = 4;
    ink.strokeRect(x, y, w, h);
    ink.strokeStyle = tone;
    ink.lineWidth = 2;
    ink.strokeRect(x, y, w, h);
  }

  cross(x, y, tone) {
    const { ink } = this;
    ink.strokeStyle = tone;
    ink.beginPath();
    ink.moveTo(x - 6, y - 6);
    ink.lineTo(x + 6, y + 6);
    ink.moveTo(x + 6, y - 6);
    ink.lineTo(x - 6, y + 6);
    ink.stroke();
  }

  label(text, x, y, tone) {
    const { ink } = this;
    ink.font = "600 13px system-ui, sans-serif";
    ink.lineWidth = 4;
    ink.lineJoin = "round";
    ink.strokeStyle = "#000c";
    ink.strokeText(text, x, y);
    ink.fillStyle = tone;
    ink.fillText(text, x, y);
  }

  drawDrag(place, box) {
    const { ink } = this;
    const [x, y, w, h] = toView(place, box);
    ink.save();
    ink.fillStyle = "#63b3ff22";
    ink.fillRect(x, y, w, h);
    this.outline(x, y, w, h, "#63b3ff");
    this.label(`${Math.round(box[2])} × ${Math.round(box[3])} px`, x, y + h + 17, "#9fd0ff");
    ink.restore();
  }
}
