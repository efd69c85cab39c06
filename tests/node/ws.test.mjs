/** What the npm client `ws` sees of the protocol. */

import assert from "node:assert/strict";
import {after, before, describe, test} from "node:test";
import {Client, V1, within} from "./client.mjs";
import {start, token} from "./gateway.mjs";

describe("a gateway that requires tokens", () => {
  let gateway;
  before(async () => (gateway = await start()));
  after(() => gateway.stop());
  const bearer = (user, claims) => ({headers: {Authorization: `Bearer ${token(user, claims)}`}});

  test("the token comes in a header", async () => {
    const client = await Client.open(gateway.url, bearer("alice"));

    const {type, payload} = await client.get();

    assert.deepEqual([type, payload.user, client.socket.protocol], ["welcome", "alice", V1]);
    client.socket.close();
    assert.equal((await within(client.closed, "close")).code, 1005);
  });

  test("the token comes as a subprotocol", async () => {
    const client = await Client.open(gateway.url, {protocols: [V1, `headgate.token.${token("bob")}`]});

    const {payload} = await client.get();

    assert.deepEqual([payload.user, client.socket.protocol], ["bob", V1]);
    client.socket.close(1000, "done");
    assert.equal((await within(client.closed, "close")).code, 1000);
  });

  test("without a token it is refused with 401", async () => {
    const {status, headers} = await within(new Client(gateway.url).refused, "the refusal");

    assert.equal(status, 401);
    assert.match(headers["www-authenticate"], /^Bearer/);
  });

  test("a publication reaches another client", async () => {
    const [one, two] = [await Client.open(gateway.url, bearer("alice")), await Client.open(gateway.url, bearer("bob"))];
    await one.get();
    assert.equal((await one.ask("subscribe", {channel: "public.ws"})).type, "subscribed");

    const published = await two.ask("message", {channel: "public.ws", data: {text: "hi"}});

    let received = await one.get();
    while (received.type !== "message") received = await one.get();
    assert.deepEqual(received.payload, {channel: "public.ws", data: {text: "hi"}, offset: published.payload.offset, user: "bob"});
    for (const client of [one, two]) client.socket.close();
  });

  test("large messages are compressed both ways", async () => {
    const client = await Client.open(gateway.url, {...bearer("alice"), perMessageDeflate: {threshold: 0}});
    const data = "abc".repeat(20_000);
    assert.match(client.socket.extensions, /permessage-deflate/);
    await client.ask("subscribe", {channel: "public.deflate"});
    const before = client.socket._socket.bytesRead;

    client.send("message", {channel: "public.deflate", data});

    let received = await client.get();
    while (received.type !== "message") received = await client.get();
    assert.equal(received.payload.data, data);
    assert.ok(client.socket._socket.bytesRead - before < data.length / 10, "it came compressed");
    assert.ok(client.socket._socket.bytesWritten < data.length / 10, "it went compressed");
    client.socket.close();
  });

  test("who comes back after a cut gets exactly what was missed", async () => {
    const lost = await Client.open(gateway.url, bearer("alice"));
    const {payload} = await lost.ask("subscribe", {channel: "public.recover"});
    await lost.cut();
    for (const data of [1, 2, 3]) await gateway.api("publish", {channel: "public.recover", data});

    const client = await Client.open(gateway.url, bearer("alice"));
    const answer = await client.ask("subscribe", {channel: "public.recover", recover: {epoch: payload.epoch, offset: payload.offset}});
    await gateway.api("publish", {channel: "public.recover", data: 4});

    assert.equal(answer.payload.recovered, true);
    const missed = [];
    while (missed.length < 4) {
      const {type, payload} = await client.get();
      if (type === "message") missed.push(payload.data);
    }
    assert.deepEqual(missed, [1, 2, 3, 4]);
    client.socket.close();
  });

  const closes = {
    1003: (client) => client.socket.send(Buffer.from("{}")),
    1008: (client) => Array.from({length: 30}).forEach(() => client.socket.send("nonsense")),
    1009: (client) => client.socket.send("x".repeat(600_000)),
    4429: (client) => Array.from({length: 250}).forEach(() => client.send("ping")),
    4500: () => gateway.api("users/4500/disconnect", {}),
    4900: () => gateway.api("users/4900/disconnect", {code: 4900}),
    4504: () => gateway.api("revocations", {user: "4504", expires: Math.floor(Date.now() / 1000) + 60}),
  };
  for (const [code, provoke] of Object.entries(closes)) {
    test(`the close code ${code} arrives`, async () => {
      const client = await Client.open(gateway.url, bearer(code));
      await client.get();

      await provoke(client);

      const closed = await within(client.closed, "close", 10_000);
      assert.equal(closed.code, Number(code));
      assert.ok(closed.reason, "it says why");
    });
  }

  test("a token that expires ends its connection with 4401", async () => {
    const client = await Client.open(gateway.url, bearer("carol", {exp: Math.floor(Date.now() / 1000) + 2}));

    assert.equal((await within(client.closed, "close")).code, 4401);
  });
});

test("a drain says when to come back and closes with 1012", async (t) => {
  const gateway = await start();
  t.after(() => gateway.stop());
  const client = await Client.open(gateway.url, {headers: {Authorization: `Bearer ${token("alice")}`}});
  await client.get();
  gateway.signal("SIGTERM");

  const {type, payload} = await client.get(10_000);

  assert.equal(type, "reconnect");
  assert.ok(payload.closesInMs <= 5000 && payload.delayMs >= 0);
  assert.equal((await within(client.closed, "close", 15_000)).code, 1012);
});
