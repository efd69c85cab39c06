/** The npm client `ws`, read envelope by envelope. */

import {once} from "node:events";
import {WebSocket} from "ws";

export const V1 = "headgate.v1";

/** What a promise gives, or an error that says what was waited for. */
export function within(promise, what, ms = 5_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A client that speaks `headgate.v1`; further options are those of `ws`. */
export class Client {
  #waiting = [];
  #readers = [];
  #count = 0;

  constructor(url, {protocols = [V1], ...options} = {}) {
    this.socket = new WebSocket(url, protocols, options);
    this.socket.on("message", (data) => data.toString().split("\n").forEach((line) => this.#put(JSON.parse(line))));
    this.closed = once(this.socket, "close").then(([code, reason]) => ({code, reason: reason.toString()}));
    this.refused = new Promise((resolve) => {
      this.socket.on("unexpected-response", (request, response) => {
        request.destroy();
        resolve({status: response.statusCode, headers: response.headers});
      });
    });
    this.socket.on("error", () => {}); // `closed` tells it
  }

  static async open(url, options) {
    const client = new Client(url, options);
    await within(once(client.socket, "open"), "open");
    return client;
  }

  #put(envelope) {
    const reader = this.#readers.shift();
    if (reader) reader(envelope);
    else this.#waiting.push(envelope);
  }

  /** The next envelope. */
  get(ms) {
    if (this.#waiting.length) return Promise.resolve(this.#waiting.shift());
    return within(new Promise((resolve) => this.#readers.push(resolve)), "an envelope", ms);
  }

  send(type, payload, id) {
    this.socket.send(JSON.stringify({type, payload, id}));
  }

  /** The answer to a request. */
  async ask(type, payload) {
    const id = ++this.#count;
    this.send(type, payload, id);
    for (;;) {
      const answer = await this.get();
      if (answer.id === id) return answer;
    }
  }

  /** Ends as a lost network does: without a close frame. */
  cut() {
    this.socket.terminate();
    return this.closed;
  }
}
