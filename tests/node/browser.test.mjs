/** What a page in Chromium sees of the protocol, with nothing but the browser's own `WebSocket`. */

import assert from "node:assert/strict";
import {after, before, describe, test} from "node:test";
import {launch, serve} from "./browser.mjs";
import {start, token} from "./gateway.mjs";

/** Runs in the page: connects, does what it is told, and returns what came, and how it ended. */
async function talk({url, protocols, say, until}) {
  const socket = new WebSocket(url, protocols);
  const seen = [];
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({seen, late: true}), 8_000);
    const end = (more) => {
      clearTimeout(timer);
      resolve({seen, protocol: socket.protocol, extensions: socket.extensions, ...more});
    };
    socket.onopen = () => say.forEach((envelope) => socket.send(JSON.stringify(envelope)));
    socket.onmessage = ({data}) => {
      seen.push(...data.split("\n").map((line) => JSON.parse(line)));
      if (seen.some(({type}) => type === until)) end({});
    };
    socket.onclose = ({code, reason, wasClean}) => end({code, reason, wasClean});
  });
}

describe("a page", () => {
  let browser, allowed, forbidden, gateway;
  before(async () => {
    [allowed, forbidden] = [await serve(), await serve()];
    gateway = await start({allowedOrigins: [allowed.origin], limits: {connectionsPerUser: 2}});
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    await Promise.all([allowed.close(), forbidden.close()]);
  });

  /** What a page of an origin sees; `say` is sent once it is connected. */
  async function visit(origin, bearer, say = [], until = "message") {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(origin);
    const protocols = ["headgate.v1", ...(bearer ? [`headgate.token.${bearer}`] : [])];
    const seen = await page.evaluate(talk, {url: gateway.url, protocols, say, until});
    await context.close();
    return seen;
  }
  const past = Math.floor(Date.now() / 1000) - 100;

  test("of an allowed origin connects, subscribes, publishes and receives", async () => {
    const {seen, protocol} = await visit(allowed.origin, token("alice"), [
      {type: "subscribe", id: 1, payload: {channel: "public.page"}},
      {type: "message", id: 2, payload: {channel: "public.page", data: {text: "hi ü"}}},
    ]);

    assert.equal(protocol, "headgate.v1");
    assert.equal(seen[0].type, "welcome");
    assert.equal(seen[0].payload.user, "alice");
    assert.ok(seen.some(({type, id}) => type === "subscribed" && id === 1));
    const {payload} = seen.find(({type}) => type === "message");
    assert.deepEqual([payload.channel, payload.data, payload.user], ["public.page", {text: "hi ü"}, "alice"]);
  });

  test("of another origin gets nothing", async () => {
    const {seen, code, wasClean} = await visit(forbidden.origin, token("alice"));

    assert.deepEqual({seen, code, wasClean}, {seen: [], code: 1006, wasClean: false});
  });

  test("sees a bad token as 4501", async () => {
    const {seen, code, reason} = await visit(allowed.origin, "a.b.c");

    assert.deepEqual({seen, code}, {seen: [], code: 4501});
    assert.ok(reason);
  });

  test("sees that its token is missing as 4501", async () => {
    assert.equal((await visit(allowed.origin)).code, 4501);
  });

  test("sees an expired token as 4401", async () => {
    assert.equal((await visit(allowed.origin, token("alice", {exp: past}))).code, 4401);
  });

  test("sees the end of its token as 4401", async () => {
    const {seen, code} = await visit(allowed.origin, token("alice", {exp: Math.floor(Date.now() / 1000) + 2}));

    assert.deepEqual([seen[0].type, code], ["welcome", 4401]);
  });

  test("gets large messages, which Chromium asks for compressed", async () => {
    const data = "abc".repeat(30_000);
    const {seen, extensions} = await visit(allowed.origin, token("alice"), [
      {type: "subscribe", payload: {channel: "public.large"}},
      {type: "message", payload: {channel: "public.large", data}},
    ]);

    assert.match(extensions, /permessage-deflate/);
    assert.equal(seen.find(({type}) => type === "message").payload.data, data);
  });

  test("sees one connection too many of its user as 4430", async () => {
    const visits = Array.from({length: 3}, () => visit(allowed.origin, token("crowd"), [{type: "ping"}], "never"));

    const codes = await Promise.race(visits).then(({code}) => code);

    assert.equal(codes, 4430);
    await gateway.api("users/crowd/disconnect", {});
    await Promise.all(visits);
  });
});
