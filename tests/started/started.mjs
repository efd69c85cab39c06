/** The real binary with a manifest and Secrets of the test's own, on free ports. */

import {spawn} from "node:child_process";
import {once} from "node:events";
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import path from "node:path";
import {createInterface} from "node:readline";

const ROOT = path.resolve(import.meta.dirname, "../..");
const BINARY = process.env.HEADGATE_GATEWAY ?? path.join(ROOT, "target/debug/headgate-gateway");
const LOG_MS = 15_000;

export const SECRET = "0123456789abcdef0123456789abcdef";
export const API_KEY = "test-key-0123456789";

export class Started {
  #process;
  #folder = mkdtempSync(path.join(tmpdir(), "headgate-"));
  #lines = [];
  #waiting = new Set();

  constructor(spec, {name = "test", listen = "127.0.0.1:0", internal = "127.0.0.1:0", options = []} = {}) {
    this.#write("secrets/jwt/hmac", SECRET);
    this.#write("secrets/api/api-key", API_KEY);
    const document = {apiVersion: "headgate.dev/v1alpha1", kind: "RealtimeGateway", metadata: {name}, spec};
    const manifest = this.#write("gateway.yaml", JSON.stringify(document));
    const secrets = path.join(this.#folder, "secrets");
    const command = ["serve", manifest, "--secrets", secrets, "--listen", listen, "--internal-listen", internal, "--log-format", "json"];
    this.#process = spawn(BINARY, [...command, ...options], {stdio: ["ignore", "pipe", "inherit"]});
    process.once("exit", () => this.#process.kill("SIGKILL"));
    createInterface({input: this.#process.stdout}).on("line", (line) => {
      this.#lines.push(line);
      this.#waiting.forEach((look) => look());
    });
  }

  #write(name, text) {
    const full = path.join(this.#folder, name);
    mkdirSync(path.dirname(full), {recursive: true});
    writeFileSync(full, text);
    return full;
  }

  /** The first log line of an event. */
  logged(event) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.#lines.map((line) => JSON.parse(line)).find((line) => line.event === event);
        if (!found) return;
        clearTimeout(late);
        this.#waiting.delete(look);
        resolve(found);
      };
      const late = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`no log line with the event ${event} within ${LOG_MS} ms; log:\n${this.#lines.join("\n")}`));
      }, LOG_MS);
      this.#waiting.add(look);
      look();
    });
  }

  /** Calls the server API; the JSON of its answer. */
  async api(call, body) {
    const {internal} = await this.logged("listening");
    const answer = await fetch(`http://${internal}/api/v1/${call}`, {
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
      headers: {Authorization: `Bearer ${API_KEY}`, ...(body && {"Content-Type": "application/json"})},
    });
    if (!answer.ok) throw new Error(`${call}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Sends it a signal. */
  signal(name) {
    this.#process.kill(name);
  }

  /** Lets it drain, and waits until it has ended. */
  async drain() {
    const gone = once(this.#process, "exit");
    this.signal("SIGTERM");
    await gone;
  }

  /** Ends it at once, and waits until it has. */
  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = once(this.#process, "exit");
      this.signal("SIGKILL");
      await gone;
    }
    rmSync(this.#folder, {recursive: true, force: true});
  }
}
