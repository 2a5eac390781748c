// Hands out the files of the application, which runs in the browser, with a Content-Security-Policy that lets in nothing
// else. In production any web server does this.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { PORT = "3000", ISSUER = "http://localhost:8080", CLIENT_ID = "spa" } = process.env;
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css" };
const FILES = ["app.js", "login.js", "tabs.js", "app.css"];

const POLICY = {
  "default-src": "'none'",
  "script-src": "'self'",
  "style-src": "'self'",
  // The only places that a script can send anything to.
  "connect-src": `'self' ${new URL(ISSUER).origin}`,
  "base-uri": "'none'",
  "form-action": "'none'",
  "frame-ancestors": "'none'",
  "require-trusted-types-for": "'script'",
  "trusted-types": "'none'",
};
const HEADERS = {
  "content-security-policy": Object.entries(POLICY).map((rule) => rule.join(" ")).join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-cache",
};

createServer(async ({ url }, response) => {
  const name = url.split("?")[0].slice(1);
  const headers = { ...HEADERS, "content-type": "application/json" };
  if (name === "settings.json") return response.writeHead(200, headers).end(JSON.stringify({ ISSUER, CLIENT_ID }));
  const file = FILES.includes(name) ? name : "index.html";
  headers["content-type"] = TYPES[file.split(".").pop()];
  response.writeHead(200, headers).end(await readFile(new URL(file, import.meta.url)));
}).listen(Number(PORT), "127.0.0.1", () => console.log(`http://localhost:${PORT}`));
