// A gateway with its console for a test.

import { API_KEY, Started } from "../started/started.mjs";

export { API_KEY };

/** Every page is refused but the console, and so is every token but its own. */
const SPEC = {
  allowedOrigins: [],
  auth: { mode: "Required", jwt: { issuer: "test", audience: "test", keysSecretName: "jwt", keys: [{ algorithm: "HS256", key: "hmac" }] } },
  api: { keySecretName: "api" },
  channels: [
    { match: "public.**", history: { messages: 10, maxAge: "5m" } },
    { match: "closed", subscribe: "Nobody", publish: "Nobody" },
    { match: "**" },
  ],
  drain: { period: "10s", endpointGrace: "0s" },
};

export class Gateway extends Started {
  /** Starts one and waits until its console is there; `ports` are `{listen, internal}`. */
  static async start(ports = {}) {
    const gateway = new Gateway(SPEC, { name: "chat", options: ["--console"], ...ports });
    gateway.listening = await gateway.logged("listening");
    gateway.url = (await gateway.logged("console")).url;
    return gateway;
  }
}
