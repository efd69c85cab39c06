#!/usr/bin/env node
/** Publishes to channels through the server API, with nothing but Node 20. `--help` says how. */

import {randomUUID} from "node:crypto";
import {readFile} from "node:fs/promises";
import {parseArgs} from "node:util";

const USAGE = `usage: publish.mjs [--url URL] [--key-file FILE] CHANNEL DATA...

    make run                                     # a gateway, in another terminal
    node examples/publish.mjs public.lobby '{"name": "news", "text": "hello"}'

  CHANNEL     such as public.lobby
  DATA        JSON, or text; several are published one after the other
  --url       the gateway's internal port (default: http://127.0.0.1:9090)
  --key-file  the file with the API's key (default: .run/secrets/chat-api/api-key)

A publication that was not answered, or with 503, is tried again with the same \`key\`, so that in a
channel with history it is published once.`;

const ATTEMPTS = 8;
const BACK_OFF_MS = {first: 250, longest: 10_000};

/** Where the publication stands: `channel`, and `epoch` and `offset` in a channel with history. */
export async function publish(url, apiKey, channel, data) {
  const request = {
    method: "POST",
    headers: {Authorization: `Bearer ${apiKey}`, "Content-Type": "application/json"},
    body: JSON.stringify({channel, data, key: randomUUID()}),
  };
  let cause;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answer = await fetch(`${url}/api/v1/publish`, {...request, signal: AbortSignal.timeout(10_000)}).catch((error) => error);
    if (answer.ok) return (await answer.json()).results[0];
    if (answer.status && answer.status !== 503) throw new Error(`${answer.status}: ${(await answer.json()).error.message}`);
    cause = answer.status ?? answer.cause?.code ?? answer.message;
    // Full jitter: publishers that were refused together do not come back together.
    const longest = Math.min(BACK_OFF_MS.first * 2 ** attempt, BACK_OFF_MS.longest);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * longest));
  }
  throw new Error(`no answer in ${ATTEMPTS} attempts: ${cause}`);
}

/** JSON as what it is, anything else as text. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function main() {
  const {values, positionals} = parseArgs({
    allowPositionals: true,
    options: {
      url: {type: "string", default: "http://127.0.0.1:9090"},
      "key-file": {type: "string", default: ".run/secrets/chat-api/api-key"},
      help: {type: "boolean", short: "h"},
    },
  });
  if (values.help) return console.log(USAGE);
  const [channel, ...data] = positionals;
  if (!data.length) throw new Error(`CHANNEL and DATA are missing\n\n${USAGE}`);
  const [apiKey] = (await readFile(values["key-file"], "utf8")).split("\n");
  for (const one of data) console.log(JSON.stringify(await publish(values.url, apiKey.trim(), channel, parsed(one))));
}

try {
  await main();
} catch (error) {
  console.error(`publish.mjs: ${error.message}`);
  process.exitCode = 1;
}
