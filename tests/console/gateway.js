// A gateway with its console for a test: the real binary, a manifest of the test's own, free ports.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = new URL("../..", import.meta.url).pathname;
const BINARY = process.env.HEADGATE_GATEWAY ?? join(ROOT, "target/debug/headgate-gateway");
const LOG_MS = 15_000;

const SECRET = "0123456789abcdef0123456789abcdef";
export const API_KEY = "test-key-0123456789";

/** Every page is refused but the console, and so is every token but its own. */
const SPEC = {
  allowedOrigins: [],
  auth: { mode: "Required", jwt: { issuer: "test", audience: "test", keysSecretName: "jwt", keys: [{ algorithm: "HS256", key: "hmac" }] } },
  api: { keySecretName: "api" },
  channels: [
    { match: "public.**", history: { messages: 10, maxAge: "5m" } },
    { match: "closed", subscribe: "Nobody", publish: "Nobody" },
    { match: "**" },
  ],
  drain: { period: "10s", endpointGrace: "0s" },
};

export class Gateway {
  #process;
  #folder;
  #lines = [];
  #waiting = new Set();

  /** Starts one and waits until its console is there; `ports` are `{listen, internal}`. */
  static async start({ listen = "127.0.0.1:0", internal = "127.0.0.1:0" } = {}) {
    const gateway = new Gateway(listen, internal);
    gateway.listening = await gateway.logged("listening");
    gateway.url = (await gateway.logged("console")).url;
    return gateway;
  }

  constructor(listen, internal) {
    this.#folder = mkdtempSync(join(tmpdir(), "headgate-console-"));
    const file = (path, text) => {
      const full = join(this.#folder, path);
      mkdirSync(join(full, ".."), { recursive: true });
      writeFileSync(full, text);
      return full;
    };
    file("secrets/jwt/hmac", SECRET);
    file("secrets/api/api-key", API_KEY);
    const manifest = file("gateway.yaml", JSON.stringify({
      apiVersion: "headgate.dev/v1alpha1", kind: "RealtimeGateway", metadata: { name: "chat" }, spec: SPEC,
    }));
    this.#process = spawn(BINARY, ["serve", manifest, "--console", "--listen", listen, "--internal-listen", internal,
      "--secrets", join(this.#folder, "secrets"), "--log-format", "json"], { stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      this.#lines.push(line);
      this.#waiting.forEach((look) => look());
    });
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
  async api(path, body) {
    const answer = await fetch(`http://${this.listening.internal}/api/v1/${path}`, {
      method: body ? "POST" : "GET", body: body && JSON.stringify(body),
      headers: { Authorization: `Bearer ${API_KEY}`, ...(body && { "Content-Type": "application/json" }) },
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Lets it drain, and waits until it has ended. */
  async drain() {
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await gone;
  }

  /** Ends it at once, and waits until it has. */
  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = once(this.#process, "exit");
      this.#process.kill("SIGKILL");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
