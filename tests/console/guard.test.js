// Who sees the console of the real binary, and what those see who may not.

import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";

import { open } from "./browser.js";
import { gateway } from "./steps.js";

const PUBLIC = () => `http://${gateway.listening.public}/ws`;
const UPGRADE = {
  Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Status, headers and body of a request with just these headers. */
function ask(url, headers = {}, method = "GET") {
  return new Promise((resolve, reject) => {
    // A connection of its own: one that rested for 5 s is closed by the gateway.
    const asked = request(url, { method, headers, agent: false, timeout: 10_000 }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces).toString() }));
    });
    asked.on("upgrade", ({ statusCode, headers }, socket) => {
      socket.destroy();
      resolve({ status: statusCode, headers, body: "" });
    });
    asked.on("timeout", () => asked.destroy(new Error(`no answer from ${url} within 10 s`)));
    asked.on("error", reject);
    asked.end();
  });
}

test("what is refused looks like a path that is not there", async () => {
  const { port } = new URL(gateway.url);
  const nothing = await ask(`http://127.0.0.1:${port}/nothing`);
  assert.equal(nothing.status, 404);

  for (const [headers, method, path] of [
    [{ Host: `localhost.evil.com:${port}` }],
    [{ Host: `127.0.0.1.evil.com:${port}` }],
    [{ Host: "127.0.0.1" }],
    [{ "Sec-Fetch-Site": "cross-site" }],
    [{ "Sec-Fetch-Site": "same-site" }],
    [{}, "POST"],
    [{}, "GET", "x"],
    [{}, "GET", "../"],
    [{ "Sec-Fetch-Site": "none" }, "GET", "data"],
  ]) {
    const refused = await ask(`${gateway.url}${path ?? ""}`, headers, method);
    assert.equal(refused.status, 404, JSON.stringify({ headers, method, path }));
    assert.equal(refused.body, nothing.body);
    assert.equal(refused.headers["content-security-policy"], undefined);
  }
  const other = await ask(gateway.url.replace(/console\/.{22}/, `console/${"A".repeat(22)}`));
  assert.deepEqual([other.status, other.body], [404, nothing.body]);
});

test("the page has the headers that keep it to itself", async () => {
  const { status, headers } = await ask(gateway.url);

  assert.equal(status, 200);
  const { "content-security-policy": policy, "cache-control": cache, "referrer-policy": referrer } = headers;
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws:\/\/127\.0\.0\.1:\d+; base-uri 'none'; form-action 'none'; frame-ancestors 'none'/);
  assert.deepEqual([cache, referrer], ["no-store", "no-referrer"]);
  assert.equal(headers["access-control-allow-origin"], undefined);
});

test("a browser that comes by localhost is sent to the page's own address", { timeout: 60_000 }, async () => {
  const browser = await open(gateway.url.replace("127.0.0.1", "localhost"));
  try {
    assert.equal(browser.page.url(), gateway.url);
    assert.deepEqual(await browser.wrong(), []);
  } finally {
    await browser.close();
  }
});

test("only the page's own origin is let past allowedOrigins, and its token alone counts", async () => {
  const { origin, port } = new URL(gateway.url);
  const { token } = JSON.parse((await ask(`${gateway.url}data`)).body);
  const upgrade = async (from) => (await ask(PUBLIC(), {
    ...UPGRADE, Origin: from, "Sec-WebSocket-Protocol": `headgate.v1, headgate.token.${token}`,
  })).status;

  assert.equal(await upgrade(origin), 101);
  for (const other of [`http://localhost:${port}`, `http://127.0.0.2:${port}`, "http://127.0.0.1", "null", `https://127.0.0.1:${port}`]) {
    assert.equal(await upgrade(other), 403, other);
  }
});
