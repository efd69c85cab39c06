/**
 * A connection to a gateway that comes back by itself, and what a page does with it.
 *
 * It follows docs/protocol.md: it waits with full jitter between attempts, goes where and when
 * `reconnect` says, stays away after the codes that say so, and resubscribes with the position of
 * what it saw last, so that what was published meanwhile arrives as well.
 */

const STAY_AWAY = [1002, 1003, 1007, 1008, 1009];
const BACK_OFF_MS = [500, 30_000];
const ANSWER_MS = 10_000;

export class Connection extends EventTarget {
  #url;
  #token;
  #socket;
  #positions = new Map(); // channel -> {epoch, offset} of what was seen last, or null
  #asked = new Map(); // id -> who waits for the answer
  #count = 0;
  #attempts = 0;
  #delayMs; // told by `reconnect`
  #silence;
  #isOver = false;

  /** `token` is asked for a fresh token, or nothing, each time; it may take its time. */
  constructor(url, token = () => undefined) {
    super();
    this.#url = url;
    this.#token = token;
    this.#open();
  }

  /** Subscribes now and whenever the connection is back. */
  subscribe(channel) {
    this.#positions.set(channel, null);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#enter(channel);
  }

  /** The payload of the answer. Fails with `code`, which is `lost` if the connection was. */
  request(type, payload) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) return reject(failure("lost"));
      this.#asked.set(id, {resolve, reject});
      this.#socket.send(JSON.stringify({type, payload, id}));
    });
  }

  /** Resolves when the connection is there. */
  ready() {
    if (this.#socket?.readyState === WebSocket.OPEN) return Promise.resolve();
    return new Promise((resolve) => this.addEventListener("open", resolve, {once: true}));
  }

  /** Ends it for good. */
  close() {
    this.#isOver = true;
    this.#socket?.close(1000);
  }

  async #open() {
    this.#tell("state", {state: "connecting"});
    const token = await this.#token();
    const protocols = ["headgate.v1", ...(token ? [`headgate.token.${token}`] : [])];
    const socket = (this.#socket = new WebSocket(this.#url, protocols));
    socket.onmessage = ({data}) => {
      this.#listen();
      for (const line of data.split("\n")) this.#take(JSON.parse(line));
    };
    socket.onclose = ({code, reason}) => this.#closed(code, reason);
  }

  #take({type, payload, id}) {
    if (type === "welcome") {
      this.pingPeriodMs = payload.pingPeriodMs;
      this.#attempts = 0;
      this.#tell("state", {state: "open"});
      this.#tell("open", payload);
      for (const channel of this.#positions.keys()) this.#enter(channel);
    }
    if (type === "reconnect") this.#delayMs = payload.delayMs;
    if (this.#positions.has(payload?.channel)) this.#follow(type, payload);
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (type === "error") asked?.reject(failure(payload.code, payload.message));
    else asked?.resolve(payload);
    this.#tell(type, payload);
  }

  /** Keeps the position in a channel: that of what was seen last. Without history there is none. */
  #follow(type, {channel, epoch, offset}) {
    const position = this.#positions.get(channel);
    if (type === "subscribed") this.#positions.set(channel, epoch ? {epoch, offset} : null);
    if (type === "message" && position && offset) position.offset = offset;
    // What is before this offset is lost, so the next one to come may be this.
    if (type === "gap") this.#positions.set(channel, epoch && offset ? {epoch, offset: offset - 1} : null);
  }

  /** Subscribes, and asks for what was missed since the position that is known. */
  async #enter(channel) {
    const recover = this.#positions.get(channel) ?? undefined;
    try {
      this.#tell("entered", await this.request("subscribe", {channel, recover}));
    } catch ({code, message}) {
      if (code !== "lost") this.#tell("refused", {channel, code, message});
    }
  }

  /** Browsers can't see pings: after a silence ask, and if nobody answers, begin anew. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.request("ping").catch(() => {});
      this.#silence = setTimeout(() => this.#lose(), ANSWER_MS);
    }, this.pingPeriodMs ?? ANSWER_MS);
  }

  /** Does not wait for the close frame of a gateway that does not answer. */
  #lose() {
    const socket = this.#socket;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#closed(1006, "no answer");
  }

  #closed(code, reason) {
    clearTimeout(this.#silence);
    for (const {reject} of this.#asked.values()) reject(failure("lost"));
    this.#asked.clear();
    if (this.#isOver || code >= 4500 || STAY_AWAY.includes(code)) {
      this.#tell("state", {state: "closed", code, reason});
      return;
    }
    const longest = Math.min(BACK_OFF_MS[0] * 2 ** this.#attempts++, BACK_OFF_MS[1]);
    const delayMs = this.#delayMs ?? Math.random() * longest;
    this.#delayMs = undefined;
    this.#tell("state", {state: "waiting", code, reason, delayMs});
    setTimeout(() => this.#open(), delayMs);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}

function failure(code, message = code) {
  return Object.assign(new Error(message), {code});
}
