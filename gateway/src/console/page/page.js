// The console: joins the client, the forms, the charts and the lists.

import { ChannelList } from "./channels.js";
import { Chart, shown } from "./chart.js";
import { Client } from "./client.js";
import { Feed } from "./feed.js";

const POLL_MS = 1_000;
const POLL_TIMEOUT_MS = 5_000;

const $ = (id) => document.getElementById(id);

class Gone extends Error {}

/** The figures, where to connect, and a token for it. */
async function ask() {
  const answer = await fetch("data", { cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
  if (answer.status === 404) throw new Gone();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

const client = new Client(ask);
const feed = new Feed({ list: $("feed"), said: $("feed-count"), pause: $("feed-pause"), clear: $("feed-clear") });
const connections = new Chart($("connections"));
const rates = new Chart($("rates"));
const channels = new ChannelList(
  { body: $("channels"), title: $("channels-title"), said: $("channels-count") },
  client.subscriptions,
  (channel) => (client.subscriptions.has(channel) ? leave(channel) : join(channel)),
);

/** Says how something went, beside the field it was about. */
function say(id, text, isBad = false) {
  const said = $(id);
  said.textContent = text;
  said.classList.toggle("is-bad", isBad);
}

const join = (channel) => settle("subscribe-said", client.subscribe(channel), `Subscribed to ${channel}`);
const leave = (channel) => settle("subscribe-said", client.unsubscribe(channel), `Unsubscribed from ${channel}`);

async function settle(id, work, words) {
  try {
    await work;
    say(id, words);
    return true;
  } catch (error) {
    say(id, error.message, true);
    return false;
  }
}

/** The text of a field that must not be empty. */
function channelIn(field, said) {
  const channel = field.value.trim();
  field.setAttribute("aria-invalid", channel === "");
  if (channel !== "") return channel;
  say(said, "Name a channel, such as public.hello", true);
  field.focus();
  return null;
}

/** The JSON text in the field, as it was written. */
function jsonIn(field, said) {
  try {
    JSON.parse(field.value);
  } catch (error) {
    field.setAttribute("aria-invalid", "true");
    say(said, `Not JSON: ${error.message}. A text needs quotes: "hello"`, true);
    field.focus();
    return null;
  }
  field.setAttribute("aria-invalid", "false");
  return field.value;
}

$("connect").addEventListener("click", () => (client.isWanted ? client.disconnect() : client.connect()));

$("subscribe").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("subscribe-channel");
  const channel = channelIn(field, "subscribe-said");
  if (channel === null || !(await join(channel))) return;
  $("publish-channel").value ||= channel;
  field.value = "";
});

$("publish").addEventListener("submit", async (event) => {
  event.preventDefault();
  const channel = channelIn($("publish-channel"), "publish-said");
  if (channel === null) return;
  const json = jsonIn($("publish-data"), "publish-said");
  if (json === null) return;
  try {
    const { offset } = await client.publish(channel, json);
    say("publish-said", `Published to ${channel}${offset === undefined ? "" : ` as #${offset}`}`);
  } catch (error) {
    say("publish-said", error.message, true);
  }
});

$("publish-data").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  $("publish").requestSubmit();
});

client.addEventListener("state", ({ detail: { state, text } }) => {
  $("state").dataset.state = state;
  $("state").textContent = text;
  $("connect").textContent = client.isWanted ? "Disconnect" : "Connect";
  $("connect").classList.toggle("primary", !client.isWanted);
  if (state === "idle") client.subscriptions.clear();
  drawMine();
});

client.addEventListener("message", ({ detail }) => {
  if (!["welcome", "pong", "reconnect"].includes(detail.type)) feed.add(detail);
});

client.addEventListener("subscriptions", drawMine);

function drawMine() {
  channels.mark();
  const had = document.activeElement?.dataset.channel;
  $("mine").replaceChildren(...[...client.subscriptions.keys()].map((channel) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.channel = channel;
    button.textContent = channel;
    button.setAttribute("aria-label", `Unsubscribe from ${channel}`);
    button.addEventListener("click", async () => { if (await leave(channel)) $("subscribe-channel").focus(); });
    item.append(button);
    if (had === channel) queueMicrotask(() => button.focus());
    return item;
  }));
}

/** Seconds as people say them. */
function duration(seconds) {
  if (seconds < 1e-6) return "< 1 µs";
  if (seconds < 0.001) return `${shown(seconds * 1e6)} µs`;
  return seconds < 1 ? `${shown(seconds * 1e3)} ms` : `${shown(seconds)} s`;
}

let last = null;

function draw({ name, url, stats, channels: list }) {
  const at = performance.now();
  $("name").textContent = name;
  $("url").textContent = url;
  document.title = `${name} · Headgate console`;
  $("total").textContent = shown(stats.totalConnections);
  $("errors").textContent = shown(stats.errors);
  connections.add([stats.activeConnections], at);
  if (last) {
    // A counter that fell is another process's.
    const since = (key) => Math.max(0, stats[key] - last.stats[key]);
    const perSecond = (key) => since(key) / ((at - last.at) / 1_000);
    rates.add([perSecond("messagesReceived"), perSecond("messagesDelivered")], at);
    const count = since("deliverySecondsCount");
    if (count > 0) $("latency").textContent = duration(since("deliverySecondsSum") / count);
  }
  last = { at, stats };
  channels.show(list);
}

function notice(text) {
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").hidden = text === "";
}

for (;;) {
  try {
    draw(await ask());
    notice("");
  } catch (error) {
    if (error instanceof Gone) {
      client.disconnect();
      notice("This address is no longer good: the gateway was started anew. Open the one that its log prints now.");
      break;
    }
    notice(`The gateway does not answer: ${error.message}. The figures are old.`);
  }
  await new Promise((resume) => setTimeout(resume, POLL_MS));
}
