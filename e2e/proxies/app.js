// An application that knows nothing of Symbolon: it answers with the request that reached it.
// node app.js PORT

import { createServer } from "node:http";

let served = 0;

createServer((request, response) => {
  const { method, url, rawHeaders } = request;
  if (url === "/served") {
    response.end(String(served));
    return;
  }
  served += 1;
  const headers = [];
  for (let at = 0; at < rawHeaders.length; at += 2) headers.push([rawHeaders[at].toLowerCase(), rawHeaders[at + 1]]);
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }));
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
