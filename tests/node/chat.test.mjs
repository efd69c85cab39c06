/** examples/chat in Chromium, against the real binary. */

import assert from "node:assert/strict";
import path from "node:path";
import {after, before, describe, test} from "node:test";
import {launch, serve, wire} from "./browser.mjs";
import {start, token} from "./gateway.mjs";

const FOLDER = path.resolve(import.meta.dirname, "../../examples/chat");

describe("the chat page", () => {
  let browser, site, gateway;
  const options = () => ({allowedOrigins: [site.origin], auth: {mode: "Disabled"}, drain: {period: "1s", endpointGrace: "0s"}, maxConnections: 1000, channels: CHANNELS});
  const CHANNELS = [{match: "public.*", subscribe: "Anyone", publish: "Anyone", presence: "Announced", history: {messages: 100, maxAge: "1h"}}];
  before(async () => {
    site = await serve(FOLDER);
    gateway = await start(options());
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await gateway?.stop();
    await site?.close();
  });

  /** A page in a room; whatever goes wrong in it fails the test. */
  async function enter(room, name, url = gateway.url, hash = "") {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(8_000);
    const errors = [];
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(`${site.origin}/?gateway=${encodeURIComponent(url)}&room=${room}&name=${name}${hash}`);
    await page.locator("#state[data-state=open]").waitFor();
    return {
      page,
      line: (text) => page.locator("#messages li:not(.waiting)", {hasText: text}),
      texts: () => page.locator("#messages li:not(.notice)").allInnerTexts(),
      async say(text) {
        await page.getByLabel("Message", {exact: true}).fill(text);
        await page.keyboard.press("Enter");
      },
      async leave() {
        assert.deepEqual(errors, []);
        await context.close();
      },
    };
  }

  test("shows what is said, who is here, and what was said before", async () => {
    await gateway.api("publish", {channel: "public.one", data: {name: "news", text: "before"}});
    const [ann, ben] = [await enter("one", "Ann"), await enter("one", "Ben")];

    await ann.say("hello <b>Ben</b>");
    await ben.line("hello <b>Ben</b>").waitFor();
    await ben.say("hello Ann");
    await ann.line("hello Ann").waitFor();
    await ann.page.locator("#count", {hasText: /^2$/}).waitFor();
    const late = await enter("one", "Cid");
    await late.line("hello Ann").waitFor();

    const expected = ["news before", "Ann hello <b>Ben</b>", "Ben hello Ann"];
    for (const someone of [ann, ben, late]) {
      assert.deepEqual(await someone.texts(), expected);
      await someone.leave();
    }
  });

  test("comes back after a cut with what was missed, and says once what was said meanwhile", async (t) => {
    const cable = await wire(gateway.url);
    t.after(() => cable.close());
    const [ann, ben] = [await enter("two", "Ann", cable.url), await enter("two", "Ben")];
    await ann.say("one");
    await ben.line("one").waitFor();

    cable.lead("ws://127.0.0.1:9");
    cable.cut();
    await ann.page.locator("#state:not([data-state=open])").waitFor();
    await ben.say("two");
    await ben.line("two").waitFor();
    await ann.say("three");
    cable.lead(gateway.url);
    await ben.line("three").waitFor();
    await ann.line("three").waitFor();

    for (const someone of [ann, ben]) {
      assert.deepEqual(await someone.texts(), ["Ann one", "Ben two", "Ann three"]);
      assert.equal(await someone.page.locator(".notice").count(), 0);
      await someone.leave();
    }
  });

  test("goes to another gateway when this one drains, and says that it may have missed something", async (t) => {
    const [old, fresh] = [await start(options()), await start(options())];
    const cable = await wire(old.url);
    t.after(() => Promise.all([cable.close(), old.stop(), fresh.stop()]));
    const ann = await enter("three", "Ann", cable.url);
    await ann.say("on the old one");
    await ann.line("on the old one").waitFor();

    cable.lead(fresh.url);
    old.signal("SIGTERM");
    await ann.page.locator(".notice", {hasText: "missed"}).waitFor({timeout: 20_000});
    await ann.say("on the new one");
    await ann.line("on the new one").waitFor();

    await ann.leave();
  });

  test("stays away when it is told to", async (t) => {
    const strict = await start({allowedOrigins: [site.origin]});
    t.after(() => strict.stop());
    const ann = await enter("four", "Ann", strict.url, `#token=${token("ann")}`);
    await ann.page.locator("#members", {hasText: "ann"}).waitFor();

    await strict.api("users/ann/disconnect", {code: 4900});

    await ann.page.locator("#state[data-state=closed]").waitFor();
    await ann.leave();
  });

  test("is usable by keyboard and in the dark", async () => {
    const ann = await enter("five", "Ann");
    for (const [theme, width] of [["light", 1000], ["dark", 390]]) {
      await ann.page.emulateMedia({colorScheme: theme});
      await ann.page.setViewportSize({width, height: 700});
      await ann.say(`by ${theme}`);
      await ann.line(`by ${theme}`).waitFor();
      if (process.env.SCREENSHOTS) await ann.page.screenshot({path: path.join(process.env.SCREENSHOTS, `chat-${theme}.png`)});
    }

    await ann.page.getByLabel("Name", {exact: true}).focus();
    await ann.page.keyboard.press("Tab");
    await ann.page.keyboard.type("typed");
    await ann.page.keyboard.press("Tab");
    await ann.page.keyboard.press("Enter");
    await ann.line("typed").waitFor();

    const ground = await ann.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(ground, "rgb(18, 22, 28)");
    await ann.leave();
  });
});
