// Mapping between the frame (px of the camera's picture) and the view (CSS px of the canvas).
// The picture keeps its ratio; what is left over are bars at two sides.

export function fit(viewW, viewH, frameW, frameH) {
  const scale = Math.min(viewW / frameW, viewH / frameH);
  const w = frameW * scale;
  const h = frameH * scale;
  return { scale, x: (viewW - w) / 2, y: (viewH - h) / 2, w, h };
}

export function toFrame(place, point) {
  return { x: (point.x - place.x) / place.scale, y: (point.y - place.y) / place.scale };
}

export function toView(place, box) {
  const [x, y, w, h] = box;
  const s = place.scale;
  return [place.x + x * s, place.y + y * s, w * s, h * s];
}

export function clampPoint(point, frameW, frameH) {
  return { x: Math.min(Math.max(point.x, 0), frameW), y: Math.min(Math.max(point.y, 0), frameH) };
}

export function boxBetween(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
}

export function inside(place, point) {
  return point.x >= place.x && point.x <= place.x + place.w
    && point.y >= place.y && point.y <= place.y + place.h;
}
