// Connect, subscribe, publish and see it, in Chromium against the real binary.

import assert from "node:assert/strict";

import { connect, feed, focused, gateway, page, publish, subscribe, tabTo, text, textOf, until } from "./steps.js";

page("connect, subscribe, publish and see it, by keyboard", {}, async (page) => {
  assert.equal(await focused(page), "connect", "Connect is the first thing to press");
  await connect(page);
  await subscribe(page, "public.hello");
  await publish(page, '{"n": 9007199254740993, "x": 1.0, "text": "Grüße"}');
  await text(page, "#publish-said", "Published to public.hello as #");

  await until("the message", async () => (await feed(page)).length === 1);
  assert.deepEqual(await feed(page), ['{"n":9007199254740993,"x":1.0,"text":"Grüße"}']);
  assert.equal(await textOf(page, "#feed .channel"), "public.hello");
  await until("the channel in the list", async () =>
    (await page.locator("#channels tr").allTextContents()).some((row) => row.startsWith("public.hello1")));

  await tabTo(page, "connect");
  await page.keyboard.press("Enter");
  await text(page, "#state", "Not connected");
});

page("what is no JSON is refused with what would be right", {}, async (page) => {
  await connect(page);
  await subscribe(page, "public.bad");
  await publish(page, "hello");

  await text(page, "#publish-said", "Not JSON: ");
  await text(page, "#publish-said", 'A text needs quotes: "hello"');
  assert.equal(await page.getAttribute("#publish-data", "aria-invalid"), "true");
  assert.equal(await focused(page), "publish-data");
  await publish(page, '"hello"');
  await until("the message", async () => (await feed(page)).length === 1);
  assert.equal(await page.getAttribute("#publish-data", "aria-invalid"), "false");
});

page("what the gateway refuses is said where it was asked", {}, async (page) => {
  await tabTo(page, "subscribe-channel");
  await page.keyboard.press("Enter");
  await text(page, "#subscribe-said", "Name a channel");
  await page.keyboard.type("closed");
  await page.keyboard.press("Enter");
  await text(page, "#subscribe-said", "press Connect first");
  await connect(page);
  await tabTo(page, "subscribe-channel");
  await page.keyboard.press("Enter");

  await text(page, "#subscribe-said", "forbidden: ");
});

page("a paused list goes on with what came, and a flood leaves the last 200", {}, async (page) => {
  await connect(page);
  await subscribe(page, "flood");
  await tabTo(page, "feed-pause");
  await page.keyboard.press("Enter");
  for (let n = 0; n < 30; n += 1) {
    await gateway.api("publish", { channels: Array.from({ length: 10 }, () => "flood"), data: n });
  }
  await text(page, "#messages-title", "300, more came since");
  assert.equal((await feed(page)).length, 0);
  await page.keyboard.press("Enter");

  await until("200 rows", async () => (await feed(page)).length === 200);
  assert.equal((await feed(page))[0], "29");
  assert.equal(await focused(page), "feed-pause");
});
