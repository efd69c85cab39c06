// How the page stays connected: closes, drains, tokens and heartbeats.

import assert from "node:assert/strict";
import { test } from "node:test";

import { open } from "./browser.js";
import { Gateway } from "./gateway.js";
import { connect, feed, gateway, page, publish, subscribe, text, textOf, until } from "./steps.js";

page("it comes back after a close, with its subscriptions and what it missed", {}, async (page) => {
  await connect(page);
  await subscribe(page, "public.back");
  await publish(page, '"before"');
  await until("the message", async () => (await feed(page)).length === 1);

  await gateway.api("users/console/disconnect", { code: 4100 });
  await gateway.api("publish", { channel: "public.back", data: "meanwhile" });

  await until("both messages", async () => (await feed(page)).length === 2);
  await text(page, "#state", "Connected");
  await gateway.api("publish", { channel: "public.back", data: "after" });
  await until("three messages", async () => (await feed(page)).length === 3);
  assert.deepEqual(await feed(page), ['"after"', '"meanwhile"', '"before"']);
});

page("it does not come back from a code that says so", {}, async (page) => {
  await connect(page);

  await gateway.api("users/console/disconnect", { code: 4900 });

  await text(page, "#state", "(4900)");
  assert.equal(await page.getAttribute("#state", "data-state"), "refused");
  assert.equal(await textOf(page, "#connect"), "Connect");
});

page("the token is refreshed in place before it expires, and a silent gateway is asked for life", {}, async (page) => {
  const frames = [];
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => frames.push(`> ${JSON.parse(payload).type}`));
    socket.on("framereceived", ({ payload }) => frames.push(`< ${JSON.parse(payload).type}`));
  });
  await page.clock.install();
  await connect(page);

  await page.clock.fastForward("50:00");

  for (const frame of ["> authenticate", "< authenticated", "> ping", "< pong"]) {
    await until(`the frame ${frame} among ${frames}`, () => frames.includes(frame));
  }
  await text(page, "#state", "Connected");
});

test("it moves when the gateway drains, and tells a new process from a silent one", { timeout: 90_000 }, async () => {
  let other = await Gateway.start();
  const { public: listen, internal } = other.listening;
  const browser = await open(other.url);
  try {
    let delayMs;
    browser.page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => {
      const { type, payload: body } = JSON.parse(payload);
      if (type === "reconnect") delayMs = body.delayMs;
    }));
    await connect(browser.page);
    await browser.page.evaluate(() => {
      globalThis.states = [];
      const note = () => globalThis.states.push(document.querySelector("#state").textContent);
      new MutationObserver(note).observe(document.querySelector("#state"), { childList: true });
    });
    await other.drain();
    await text(browser.page, "#notice", "The gateway does not answer");
    const states = await browser.page.evaluate(() => globalThis.states);
    const asked = states.findIndex((state) => state.startsWith("Asked to move: "));
    const seconds = Math.max(1, Math.round(delayMs / 1_000));
    const closed = states.indexOf(`Again in ${seconds} s: the gateway drains (1012)`);
    assert.ok(asked >= 0 && asked < closed, states.join(" | "));
    await other.stop();
    other = await Gateway.start({ listen, internal });

    await text(browser.page, "#notice", "This address is no longer good");
  } finally {
    await browser.close();
    await other.stop();
  }
});
