// Whether and how soon a client comes back, by the close codes of the protocol (docs/protocol.md).

const BACKOFF_MS = 1_000;
const BACKOFF_MAX_MS = 30_000;

const FINAL = [1002, 1003, 1007, 1008, 1009];

const MEANING = {
  1000: "the gateway closed it",
  1001: "the process ended",
  1002: "protocol violation",
  1003: "unsupported data",
  1005: "no code was given",
  1006: "the connection broke",
  1007: "not UTF-8",
  1008: "a limit was passed",
  1009: "a message was too large",
  1011: "the gateway failed",
  1012: "the gateway drains",
  1013: "the gateway is overloaded",
  4401: "the token expired",
  4408: "no pong",
  4429: "too many messages",
  4430: "too many connections of this user",
  4431: "this page read too slowly",
  4500: "disconnected by the API",
  4501: "the token was refused",
  4502: "not authenticated in time",
  4503: "idle",
  4504: "the token was revoked",
};

/** Whether a client comes back by itself after this close code. */
export const comesBack = (code) => code < 4500 && !FINAL.includes(code);

/** How long to wait before the next try: full jitter under a bound that doubles. */
export const backoff = (attempt, random = Math.random) =>
  random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** attempt);

/** What a close code says; an application may close with codes of its own. */
export const meaning = (code) => `${MEANING[code] ?? "the application closed it"} (${code})`;
