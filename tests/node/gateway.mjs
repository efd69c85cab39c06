/** The real binary with a manifest of the test's own, and tokens made without the code under test. */

import {spawn} from "node:child_process";
import {createHmac} from "node:crypto";
import {once} from "node:events";
import {mkdir, mkdtemp, rm, writeFile} from "node:fs/promises";
import {tmpdir} from "node:os";
import path from "node:path";
import {createInterface} from "node:readline";

const ROOT = path.resolve(import.meta.dirname, "../..");
const BINARY = process.env.HEADGATE_GATEWAY ?? path.join(ROOT, "target/debug/headgate-gateway");
const SECRET = "0123456789abcdef0123456789abcdef";
export const API_KEY = "test-key-0123456789";

const SPEC = {
  auth: {mode: "Required", jwt: {keysSecretName: "jwt", keys: [{algorithm: "HS256", key: "hmac"}]}},
  api: {keySecretName: "api"},
  maxConnections: 1000,
  drain: {period: "1s", endpointGrace: "0s"},
  channels: [
    {match: "public.**", subscribe: "Anyone", publish: "Anyone", presence: "Announced", history: {messages: 100, maxAge: "5m"}},
    {match: "**"},
  ],
};

/** A token of a user, signed with HS256, for an hour. */
export function token(user, claims = {}, secret = SECRET) {
  const encode = (it) => Buffer.from(it).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const text = `${encode('{"alg":"HS256"}')}.${encode(JSON.stringify({sub: user, exp, ...claims}))}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

/** A gateway that runs until `stop`; `changes` are fields of its spec. */
export async function start(changes = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "headgate-"));
  for (const [name, key, content] of [["jwt", "hmac", SECRET], ["api", "api-key", API_KEY]]) {
    await mkdir(path.join(folder, "secrets", name), {recursive: true});
    await writeFile(path.join(folder, "secrets", name, key), content);
  }
  const document = {apiVersion: "headgate.dev/v1alpha1", kind: "RealtimeGateway", metadata: {name: "test"}, spec: {...SPEC, ...changes}};
  const manifest = path.join(folder, "gateway.yaml");
  await writeFile(manifest, JSON.stringify(document));
  const listen = ["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0", "--log-format", "json"];
  const child = spawn(BINARY, ["serve", manifest, "--secrets", path.join(folder, "secrets"), ...listen], {stdio: ["ignore", "pipe", "inherit"]});
  const ended = once(child, "exit");
  process.once("exit", () => child.kill("SIGKILL"));

  const lines = createInterface({input: child.stdout});
  const {public: address, internal} = await event(lines, "listening");
  lines.on("line", () => {}); // the log is read on, or its pipe would fill
  return {
    url: `ws://${address}/ws`,
    internal,
    signal: (name) => child.kill(name),
    /** The answer of the server API. */
    async api(call, body) {
      const headers = {Authorization: `Bearer ${API_KEY}`, "Content-Type": "application/json"};
      const answer = await fetch(`http://${internal}/api/v1/${call}`, {method: "POST", headers, body: JSON.stringify(body)});
      if (!answer.ok) throw new Error(`${call}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    async stop() {
      child.kill("SIGKILL");
      await ended;
      await rm(folder, {recursive: true});
    },
  };
}

/** The first line of the log with this event, within 10 s. */
async function event(lines, name) {
  const read = [];
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error(`no log line with event ${name}; log: ${read.join("\n")}`));
    const timer = setTimeout(fail, 10_000);
    lines.once("close", fail);
    lines.on("line", (line) => {
      read.push(line);
      const entry = line.startsWith("{") ? JSON.parse(line) : {};
      if (entry.event !== name) return;
      clearTimeout(timer);
      lines.removeAllListeners();
      resolve(entry);
    });
  });
}
