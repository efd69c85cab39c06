/** Chromium, pages to open in it, and a network between a page and a gateway that can be cut. */

import {createServer} from "node:http";
import {readFile} from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import {chromium} from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"};

/** A browser with a fresh profile. */
export function launch() {
  return chromium.launch({executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: FLAGS});
}

/** Serves a folder, or without one an empty page, on a port of its own. */
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, "http://a").pathname.replace(/\/$/, "/index.html");
    try {
      const body = folder ? await readFile(path.join(folder, path.basename(name))) : "<!doctype html><title>page</title>";
      response.writeHead(200, {"Content-Type": TYPES[path.extname(name)] ?? "text/plain"}).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {origin, close: () => new Promise((resolve) => server.close(resolve).closeAllConnections())};
}

/** A wire to a WebSocket URL: `cut` ends what goes over it, `lead` has it end elsewhere. */
export async function wire(url) {
  let target = new URL(url);
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.resetAndDestroy());
  return {
    url: `ws://127.0.0.1:${server.address().port}/ws`,
    cut,
    lead: (other) => (target = new URL(other)),
    close() {
      server.close();
      cut();
    },
  };
}
