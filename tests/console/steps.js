// What a person does with the console, by the keyboard, and what they see.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { open } from "./browser.js";
import { Gateway } from "./gateway.js";

const POLL_MS = 50;
const WAIT_MS = 15_000;
const TEST_MS = 90_000;
/** More than the page has to press and to fill. */
export const TABS_MAX = 60;

/** The gateway of a file's tests. */
export let gateway;
before(async () => { gateway = await Gateway.start(); });
after(() => gateway?.stop());

/** Runs with a page of its own, and fails for whatever the browser complained of. */
export function page(name, options, body) {
  test(name, { timeout: TEST_MS }, async () => {
    const browser = await open(gateway.url, options);
    try {
      await body(browser.page, browser);
      assert.deepEqual(await browser.wrong(), [], "the browser complained");
    } finally {
      await browser.close();
    }
  });
}

export async function until(what, look) {
  const deadline = Date.now() + WAIT_MS;
  let last;
  while (Date.now() < deadline) {
    last = await look();
    if (last) return last;
    await new Promise((resume) => setTimeout(resume, POLL_MS));
  }
  return assert.fail(`waited ${WAIT_MS} ms for ${what}`);
}

export const textOf = (page, selector) => page.locator(selector).textContent();
export const text = (page, selector, wanted) =>
  until(`${selector} to say ${wanted}`, async () => (await textOf(page, selector))?.includes(wanted));
export const focused = (page) => page.evaluate(() => document.activeElement?.id);

/** Presses Tab until an element has the focus. */
export async function tabTo(page, id) {
  for (let pressed = 0; pressed < TABS_MAX; pressed += 1) {
    if (await focused(page) === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${TABS_MAX} times Tab do not reach #${id}`);
}

export async function connect(page) {
  await tabTo(page, "connect");
  await page.keyboard.press("Enter");
  await text(page, "#state", "Connected");
}

export async function subscribe(page, channel) {
  await tabTo(page, "subscribe-channel");
  await page.keyboard.type(channel);
  await page.keyboard.press("Enter");
  await text(page, "#subscribe-said", `Subscribed to ${channel}`);
}

export async function publish(page, data) {
  await tabTo(page, "publish-data");
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(data);
  await page.keyboard.press("Control+Enter");
}

export const feed = (page) => page.locator("#feed li code").allTextContents();

/** How many points the first line of a chart has. */
export const points = (page, chart) => page.locator(`#${chart} path.line`).first().evaluate(
  (path) => path.getAttribute("d").split(/[ML]/).length - 1,
);
