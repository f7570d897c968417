// The WebSocket: frame and result in one message, acknowledged once it is on the screen.

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 5000;

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
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/video`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.delay = FIRST_DELAY_MS;
      this.onLink(true, "");
    };
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => {
      this.onLink(false, event.reason);
      setTimeout(() => this.open(), this.delay);
      this.delay = Math.min(2 * this.delay, LAST_DELAY_MS);
    };
    this.socket = socket;
  }

  async take(socket, buffer) {
    const received = performance.now();
    const { header, jpeg } = unpack(buffer);
    try {
      const bitmap = jpeg.length
        ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))
        : null;
      this.onMessage(header, bitmap, received);
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
