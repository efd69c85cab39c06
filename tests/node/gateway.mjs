/** A gateway for stock clients, and tokens made without the code under test. */

import {createHmac} from "node:crypto";

import {API_KEY, SECRET, Started} from "../started/started.mjs";

export {API_KEY};

const SPEC = {
  auth: {mode: "Required", jwt: {keysSecretName: "jwt", keys: [{algorithm: "HS256", key: "hmac"}]}},
  api: {keySecretName: "api"},
  maxConnections: 1000,
  drain: {period: "1s", endpointGrace: "0s"},
  channels: [
    {match: "public.**", subscribe: "Anyone", publish: "Anyone", presence: "Announced", history: {messages: 100, maxAge: "5m"}},
    {match: "**"},
  ],
};

/** A token of a user, signed with HS256, for an hour. */
export function token(user, claims = {}, secret = SECRET) {
  const encode = (it) => Buffer.from(it).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const text = `${encode('{"alg":"HS256"}')}.${encode(JSON.stringify({sub: user, exp, ...claims}))}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

/** A gateway that runs until `stop`; `changes` are fields of its spec. */
export async function start(changes = {}) {
  const gateway = new Started({...SPEC, ...changes});
  const {public: address, internal} = await gateway.logged("listening");
  return Object.assign(gateway, {url: `ws://${address}/ws`, internal});
}
