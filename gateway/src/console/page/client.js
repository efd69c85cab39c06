// The client of the protocol `headgate.v1` (docs/protocol.md).
//
// It keeps a connection and the subscriptions on it: it comes back by the close codes' rules, with
// full-jitter back-off or after the delay that `reconnect` gave, and recovers what it missed.

import { backoff, comesBack, meaning } from "./comeback.js";

/** A connection that lived so long has earned a new back-off. */
const STEADY_MS = 30_000;
/** How long the gateway may take to welcome, to answer, or to show life after a ping. */
const ANSWER_MS = 10_000;

/** Keeps a number that JavaScript would change (2^53+1, 1.0) as it was written, to be shown. */
const asWritten = (_, value, context) =>
  typeof value === "number" && context && String(value) !== context.source && JSON.rawJSON
    ? JSON.rawJSON(context.source)
    : value;

/**
 * Tells of itself by the events `state` ({state, text}), `message` (an envelope that answers
 * nothing) and `subscriptions`.
 */
export class Client extends EventTarget {
  /** The channels, each with the position of the last publication seen, if it has history. */
  subscriptions = new Map();

  #enter;
  #isWanted = false;
  #socket = null;
  #turn = 0;
  #attempt = 0;
  #welcomedAt = null;
  #delayMs = null;
  #pingMs = null;
  #ids = 0;
  #answers = new Map();
  #timers = {};

  /** `enter` resolves to `{url, token}`, fresh for each try. */
  constructor(enter) {
    super();
    this.#enter = enter;
  }

  get isWanted() {
    return this.#isWanted;
  }

  connect() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#attempt = 0;
    this.#open();
  }

  disconnect() {
    if (!this.isWanted) return;
    this.#end();
    this.#tell("state", { state: "idle", text: "Not connected" });
  }

  async subscribe(channel) {
    const position = this.subscriptions.get(channel);
    const { payload } = await this.#ask("subscribe", { channel, ...(position && { recover: position }) });
    const { epoch, offset, recovered } = payload;
    this.subscriptions.set(channel, offset === undefined ? null : { epoch, offset });
    this.#tell("subscriptions");
    if (recovered === false) {
      this.#tell("message", { type: "gap", payload: { channel, epoch, offset } });
    }
  }

  async unsubscribe(channel) {
    await this.#ask("unsubscribe", { channel });
    this.subscriptions.delete(channel);
    this.#tell("subscriptions");
  }

  /** `json` passes as it stands, so that no number in it loses a digit. */
  async publish(channel, json) {
    return (await this.#ask("message", { channel }, `,"data":${json}`)).payload;
  }

  async #open() {
    const turn = this.#turn;
    this.#tell("state", { state: "connecting", text: "Connecting…" });
    let door;
    try {
      door = await this.#enter();
    } catch {
      if (turn === this.#turn) this.#wait("the gateway does not answer");
      return;
    }
    if (turn !== this.#turn) return;
    const socket = new WebSocket(door.url, ["headgate.v1", `headgate.token.${door.token}`]);
    this.#socket = socket;
    this.#welcomedAt = null;
    this.#pingMs = null;
    this.#delayMs = null;
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#after("silence", ANSWER_MS, () => this.#lost());
  }

  #hear(frame) {
    this.#listen();
    for (const line of frame.split("\n")) {
      const envelope = JSON.parse(line, asWritten);
      const answer = this.#answers.get(envelope.id);
      this.#answers.delete(envelope.id);
      this.#note(envelope);
      if (answer) answer(envelope);
      else this.#tell("message", envelope);
    }
  }

  /** What an envelope changes here. */
  #note({ type, payload, id }) {
    if (type === "welcome") {
      this.#welcome(payload);
    } else if (type === "reconnect") {
      this.#delayMs = payload.delayMs;
      this.#tell("state", { state: "waiting", text: `Asked to move: ${payload.reason}` });
    } else if (type === "message" && payload.offset !== undefined) {
      const position = this.subscriptions.get(payload.channel);
      if (position) position.offset = payload.offset;
    } else if (type === "gap" && payload.epoch !== undefined && this.subscriptions.has(payload.channel)) {
      this.subscriptions.set(payload.channel, { epoch: payload.epoch, offset: payload.offset });
    } else if (type === "unsubscribed" && id === undefined) {
      this.subscriptions.delete(payload.channel);
      this.#tell("subscriptions");
    }
  }

  #welcome({ pingPeriodMs, expires, connection }) {
    this.#welcomedAt = performance.now();
    this.#pingMs = pingPeriodMs;
    this.#listen();
    this.#renewBefore(expires);
    this.#tell("state", { state: "connected", text: "Connected", connection });
    for (const channel of [...this.subscriptions.keys()]) {
      this.subscribe(channel).catch(() => {
        if (this.#socket?.readyState !== WebSocket.OPEN) return;
        this.subscriptions.delete(channel);
        this.#tell("subscriptions");
      });
    }
  }

  /** Refreshes the token in place before it expires (seconds since 1970). */
  #renewBefore(expires) {
    if (expires === undefined) return;
    this.#after("renew", Math.max(1_000, (expires * 1_000 - Date.now()) * 0.8), async () => {
      try {
        const { token } = await this.#enter();
        const { payload } = await this.#ask("authenticate", { token });
        this.#renewBefore(payload.expires);
      } catch {
        // The connection ends with 4401, and the next one has a new token.
      }
    });
  }

  /** A browser sees no pings, so after a silence it asks. */
  #listen() {
    if (this.#pingMs === null) return;
    this.#after("silence", this.#pingMs, () => {
      this.#socket.send('{"type":"ping"}');
      this.#after("silence", ANSWER_MS, () => this.#lost());
    });
  }

  #ask(type, payload, more = "") {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#welcomedAt === null) {
      return Promise.reject(new Error("not connected: press Connect first"));
    }
    const id = (this.#ids += 1);
    const body = JSON.stringify(payload).slice(0, -1);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#answers.delete(id);
        reject(new Error("no answer within 10 s: the outcome is not known"));
      }, ANSWER_MS);
      this.#answers.set(id, (envelope) => {
        clearTimeout(late);
        const { code, message } = envelope.payload ?? {};
        if (envelope.type === "error") reject(new Error(`${code}: ${message}`));
        else resolve(envelope);
      });
      this.#socket.send(`{"type":"${type}","id":${id},"payload":${body}${more}}}`);
    });
  }

  /** Nothing was heard for too long: waiting for a close could take as long again. */
  #lost() {
    this.#socket.onclose = null;
    this.#socket.onmessage = null;
    this.#socket.close();
    this.#closed(1006);
  }

  #closed(code) {
    const why = meaning(code);
    if (this.#welcomedAt !== null && performance.now() - this.#welcomedAt > STEADY_MS) this.#attempt = 0;
    if (comesBack(code)) {
      this.#wait(why);
    } else {
      this.#end();
      this.#tell("state", { state: "refused", text: `Closed: ${why}` });
    }
  }

  #wait(why) {
    this.#forget("the connection broke: the outcome is not known");
    const waitMs = this.#delayMs ?? backoff(this.#attempt);
    this.#delayMs = null;
    this.#attempt += 1;
    const seconds = Math.max(1, Math.round(waitMs / 1_000));
    this.#tell("state", { state: "waiting", text: `Again in ${seconds} s: ${why}` });
    this.#after("again", waitMs, () => this.#open());
  }

  #end() {
    this.#isWanted = false;
    // Whoever still waits for a token was asked before this end.
    this.#turn += 1;
    const socket = this.#socket;
    this.#forget("disconnected");
    if (socket) {
      socket.onclose = null;
      socket.onmessage = null;
      socket.close(1000);
    }
  }

  #forget(why) {
    Object.values(this.#timers).forEach(clearTimeout);
    this.#socket = null;
    const envelope = { type: "error", payload: { code: "closed", message: why } };
    for (const answer of this.#answers.values()) answer(envelope);
    this.#answers.clear();
  }

  #after(name, ms, then) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(then, ms);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
