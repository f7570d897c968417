// The WebSocket: frame and result in one message, acknowledged once it is on the screen.

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 5000;
const SILENCE_MS = 3000;

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return { header: JSON.parse(text), jpeg: new Uint8Array(buffer, 4 + length) };
}

export class Stream {
  // onMessage(header, bitmap or null, receivedMs); onLink(connected, reason)
  constructor(onMessage, onLink) {
    this.onMessage = onMessage;
    this.onLink = onLink;
    this.delay = FIRST_DELAY_MS;
    this.socket = null;
    this.heard = 0;
    setInterval(() => this.watch(), 500);
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/video`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.onLink(true, "");
    socket.onmessage = (event) => {
      this.heard = performance.now();
      this.delay = FIRST_DELAY_MS;
      this.take(socket, event.data);
    };
    socket.onclose = (event) => this.lose(socket, event.reason);
    this.socket = socket;
    this.heard = performance.now();
  }

  // The station speaks at least five times a second, video or not. A host that lost its power
  // closes nothing: the browser would wait for minutes.
  watch() {
    // Longer after each failure: a picture may take its time on a thin link.
    const limit = Math.max(SILENCE_MS, 3 * this.delay);
    if (this.socket && performance.now() - this.heard > limit) this.lose(this.socket, "");
  }

  lose(socket, reason) {
    if (this.socket !== socket) return;
    this.socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.onLink(false, reason);
    setTimeout(() => this.open(), this.delay);
    this.delay = Math.min(2 * this.delay, LAST_DELAY_MS);
  }

  async take(socket, buffer) {
    const received = performance.now();
    const { header, jpeg } = unpack(buffer);
    try {
      const bitmap = jpeg.length
        ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))
        : null;
      if (socket === this.socket) this.onMessage(header, bitmap, received);
    } finally {
      // Without an answer no further picture comes, so a damaged one is answered too.
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ ack: header.sequence }));
      }
    }
  }

  hold(frameId) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ hold: frameId }));
    }
  }
}
