/**
 * A chat room: what was said, who is here, and a line to say something.
 *
 * The address says where: `?gateway=ws://127.0.0.1:8080/ws&room=lobby`, and `#token=<jwt>` who. A
 * token is in the part behind `#`, which browsers send to nobody. Without one you are a guest.
 */

import {Connection} from "./connection.js";

const settings = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
const channel = `public.${settings.get("room") ?? "lobby"}`;
const connection = new Connection(settings.get("gateway") ?? `ws://${location.hostname}:8080/ws`, () => token);
const find = (id) => document.getElementById(id);
const members = new Map(); // connection -> name
let epoch; // offsets begin anew with it

find("room").textContent = channel;
find("name").value = settings.get("name") ?? "";

const on = (type, listener) => connection.addEventListener(type, ({detail}) => listener(detail));
const here = (listener) => (detail) => detail.channel === channel && listener(detail);

on("state", ({state, code, reason, delayMs}) => {
  find("state").dataset.state = state;
  const why = reason || (code === 1006 ? "connection lost" : `code ${code}`);
  const words = {open: "connected", connecting: "connecting", waiting: `${why}; again in ${(delayMs / 1000).toFixed(1)} s`, closed: `closed: ${why}`};
  find("state").textContent = words[state];
});
on("welcome", ({user}) => {
  if (user && !find("name").value) find("name").value = user;
});
on("entered", here(async ({recovered}) => {
  if (recovered === true) return refresh();
  if (recovered === false) notice("Some messages were missed while you were away.");
  const {messages} = await connection.request("history", {channel, limit: 50}).catch(() => ({messages: []}));
  messages.forEach(show);
  refresh();
}));
on("subscribed", here((it) => (epoch = it.epoch)));
on("refused", here(({message}) => notice(`${channel}: ${message}`)));
on("message", here(show));
on("gap", here((it) => {
  epoch = it.epoch;
  notice("Some messages were lost.");
}));
on("join", here((member) => refresh(() => members.set(member.connection, nameOf(member)))));
on("leave", here((member) => refresh(() => members.delete(member.connection))));
on("presence_changed", here(() => refresh()));
connection.subscribe(channel);

find("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text").value.trim();
  find("text").value = "";
  if (text) say({name: find("name").value, text});
});

/** Says it once, however often the connection is lost meanwhile: the key makes a retry harmless. */
async function say(data) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const line = append(element(data, "waiting"));
  for (;;) {
    await connection.ready();
    try {
      await connection.request("message", {channel, data, key});
      return line.remove(); // what was said comes back to everybody, and so to us
    } catch ({code, message}) {
      if (code === "lost") continue;
      if (code !== "rate_limited" && code !== "unavailable") {
        line.remove();
        return notice(`Not sent: ${message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 500 + Math.random() * 1000));
    }
  }
}

/** Shows a message in its place, once. */
function show({offset, data}) {
  const said = [...find("messages").children].filter((it) => it.epoch === epoch && it.offset);
  if (offset && said.some((it) => it.offset === offset)) return;
  const line = Object.assign(element(data), {epoch, offset});
  const later = said.find((it) => it.offset > offset) ?? find("messages").querySelector(".waiting");
  append(line, later);
}

/** A line of the list. Others may publish what they like: what is no message of ours is shown as JSON. */
function element(data, kind = "") {
  const {name, text} = Object(data);
  const line = document.createElement("li");
  const who = document.createElement("b");
  line.className = kind;
  who.textContent = String(name ?? "somebody");
  line.append(who, " ", String(text ?? JSON.stringify(data)));
  return line;
}

function notice(text) {
  const line = document.createElement("li");
  line.className = "notice";
  line.textContent = text;
  append(line);
}

/** Stays at the end if the reader is there. */
function append(line, before = null) {
  const list = find("messages");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.insertBefore(line, before);
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  return line;
}

/** Draws who is here, after a change that is known, or else from a fresh list. */
async function refresh(change) {
  if (change) change();
  else {
    const found = await connection.request("presence", {channel}).catch(() => undefined);
    if (!found) return;
    members.clear();
    found.members.forEach((member) => members.set(member.connection, nameOf(member)));
  }
  find("count").textContent = members.size;
  find("members").replaceChildren(...[...members.values()].sort().map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  }));
}

function nameOf({user, info}) {
  return info?.name ?? user ?? "guest";
}
