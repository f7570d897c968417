// Drawing a box with mouse, pen or finger; the picture stands still meanwhile.

import { boxBetween, clampPoint, inside, toFrame } from "./geometry.js";

const CLICK_VIEW_PX = 5;
export const MIN_TARGET_PX = 4;

export class Selection {
  // onBegin(frameId); onBox(box, frameId); onPoint(point, frameId); onEnd()
  constructor(view, handlers) {
    this.view = view;
    this.handlers = handlers;
    this.active = null;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.finish(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  begin(event) {
    const place = this.view.place();
    const point = { x: event.offsetX, y: event.offsetY };
    const usable = event.button === 0 && event.isPrimary && !this.active;
    if (!usable || !place || !this.view.bitmap || !inside(place, point)) return;
    this.view.canvas.setPointerCapture(event.pointerId);
    this.view.frozen = true;
    const from = toFrame(place, point);
    this.active = { pointer: event.pointerId, from, at: point, frameId: this.view.header.frame_id };
    this.handlers.onBegin(this.active.frameId);
  }

  corner(event) {
    const [width, height] = this.view.header.size;
    const point = toFrame(this.view.place(), { x: event.offsetX, y: event.offsetY });
    return clampPoint(point, width, height);
  }

  move(event) {
    if (!this.active || event.pointerId !== this.active.pointer) return;
    this.view.drag = boxBetween(this.active.from, this.corner(event));
    this.view.draw();
  }

  finish(event) {
    if (!this.active || event.pointerId !== this.active.pointer) return;
    const { from, at, frameId } = this.active;
    const box = boxBetween(from, this.corner(event));
    const moved = Math.hypot(event.offsetX - at.x, event.offsetY - at.y);
    this.release();
    if (moved < CLICK_VIEW_PX) this.handlers.onPoint([from.x, from.y], frameId);
    else this.handlers.onBox(box, frameId);
  }

  cancel() {
    if (!this.active) return false;
    this.release();
    return true;
  }

  release() {
    this.active = null;
    this.view.drag = null;
    this.view.frozen = false;
    this.view.draw();
    this.handlers.onEnd();
  }
}
