// An application behind a proxy that logs in: it is told who came (IDENTITY) and with which access token (TOKEN) in
// headers of the request. The one tells who, the other calls the API.

import { createServer } from "node:http";

const { API, PORT, IDENTITY, TOKEN } = process.env;

createServer(async ({ url, headers }, response) => {
  if (url.startsWith("/left")) return response.end("logged out");
  if (url !== "/api") return response.end(JSON.stringify({ sub: headers[IDENTITY] }));
  const answer = await fetch(API, { headers: { authorization: `Bearer ${headers[TOKEN]}` } });
  response.writeHead(answer.status).end(await answer.text());
}).listen(PORT, "127.0.0.1");
