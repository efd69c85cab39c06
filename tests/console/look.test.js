// How the console looks: charts, focus, colours, a narrow screen.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { TABS_MAX, connect, feed, gateway, page, points, publish, subscribe, text, textOf, until } from "./steps.js";

page("connections and rates are drawn and can be read value by value", {}, async (page) => {
  await connect(page);
  await subscribe(page, "public.rate");
  for (let n = 0; n < 20; n += 1) await gateway.api("publish", { channel: "public.rate", data: n });

  await until("20 messages", async () => (await feed(page)).length === 20);
  await until("a connection in the figures", async () => (await textOf(page, "#connections [data-value]")) === "1");
  await until("lines with points", async () => await points(page, "connections") > 3 && await points(page, "rates") > 3);
  const heights = await page.locator("#rates path.line.second").evaluate(
    (path) => new Set(path.getAttribute("d").match(/ [\d.]+/g)).size);
  assert.ok(heights > 1, "the line of what was delivered is flat");

  await page.locator("#rates .plot").focus();
  await page.keyboard.press("Home");
  await text(page, "#rates [data-when]", "s ago");
  assert.match(await page.getAttribute("#rates .plot", "aria-valuetext"), /^\d+ s ago: received [\d.]+, delivered [\d.]+$/);
  await page.keyboard.press("Escape");
  await text(page, "#rates [data-when]", "now");
});

page("every control can be reached by Tab and shows that it has the focus", {}, async (page) => {
  await connect(page);
  await subscribe(page, "public.focus");
  await until("the channel in the list", async () => (await page.locator("#channels button").count()) > 0);
  await publish(page, "1");
  await until("the message", async () => (await feed(page)).length === 1);
  const controls = await page.evaluate(() => {
    const all = [...document.querySelectorAll("button, input, textarea, [tabindex='0']")];
    all.forEach((element, index) => { element.dataset.control = index; });
    return all.map((element) => element.outerHTML.slice(0, 100));
  });

  const seen = new Set();
  for (let pressed = 0; pressed < TABS_MAX && seen.size < controls.length; pressed += 1) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { control: element.dataset.control, isRinged: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
    if (found.control === undefined) continue;
    assert.ok(found.isRinged, `${controls[found.control]} shows no focus`);
    seen.add(Number(found.control));
  }
  assert.deepEqual(controls.filter((_, index) => !seen.has(index)), [], "out of Tab's reach");
});

for (const colorScheme of ["light", "dark"]) {
  page(`${colorScheme}: no finding of axe, and a picture`, { colorScheme }, async (page, { shot }) => {
    await connect(page);
    for (const channel of ["public.hello", "public.weather", "room.42"]) await subscribe(page, channel);
    for (const [round, count] of [2, 5, 3, 8, 6, 9, 4].entries()) {
      for (let n = 0; n < count; n += 1) {
        await gateway.api("publish", { channel: "public.weather", data: { city: "Lisbon", celsius: 14 + round, wind: "NW", gust: 20 + n } });
      }
      await until("the next figures", async () => await points(page, "rates") > round + 2);
    }
    await publish(page, '{"text": "hello from the console"}');
    await until("all messages", async () => (await feed(page)).length === 38);
    await shot(`console-${colorScheme}`);

    await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
    const { violations } = await page.evaluate(() => axe.run());
    const found = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" | ")}`);
    assert.deepEqual(found, []);
  });
}

page("it fits a screen of 320 pixels", { viewport: { width: 320, height: 720 } }, async (page, { shot }) => {
  await connect(page);
  await subscribe(page, `public.${"long".repeat(20)}`);
  await publish(page, JSON.stringify("x".repeat(500)));
  await until("the message", async () => (await feed(page)).length === 1);

  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  await shot("console-narrow", { fullPage: true });
});
