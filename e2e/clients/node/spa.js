// The files of the application in the browser.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";

const { ISSUER, CLIENT_ID, API, PORT } = process.env;
const FILES = {
  "/app.js": "../spa/app.js",
  "/oidc-client-ts.js": "../node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js",
};

createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/settings.json") return response.end(JSON.stringify({ ISSUER, CLIENT_ID, API }));
  const file = FILES[pathname] ?? "../spa/index.html";
  response.setHeader("content-type", file.endsWith(".js") ? "text/javascript" : "text/html");
  response.end(await readFile(new URL(file, import.meta.url)));
}).listen(PORT, "127.0.0.1");
