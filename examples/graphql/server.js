// A GraphQL API: queries, mutations, and subscriptions as server-sent events. Who comes, a forward-auth sidecar says; a
// stream ends when its session does. See README.md.

import { getOperationAST, graphql, parse, specifiedRules, subscribe, validate } from "graphql";
import { createServer } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { ask } from "../express/sidecar.js";
import { root, schema } from "./schema.js";

const { PORT = "3000", SIDECAR = "http://127.0.0.1:8090" } = process.env;
const BODY_BYTES_MAX = 16_384;
const TOKENS_MAX = 500;
// How often an open stream asks again whether its session stands. The sidecar decides that in its memory.
const AGAIN_MS = 250;

class Refused extends Error {
  constructor(status, message, headers = {}) {
    super(message);
    Object.assign(this, { status, headers });
  }
}

createServer(async (request, response) => {
  try {
    const asked = await read(request);
    const who = await known(request);
    if (asked.operation.operation === "subscription") return await stream(asked, who, request, response);
    const answer = await graphql({ ...asked, schema, rootValue: root, contextValue: { who } });
    send(response, 200, answer);
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    const { status = 500, headers, message } = error instanceof Refused ? error : { message: "failed" };
    if (response.headersSent) response.end();
    else send(response, status, { errors: [{ message }] }, headers);
  }
}).listen(Number(PORT), "127.0.0.1", () => console.log(`http://localhost:${PORT}/graphql`));

// What is asked for. A link or an image makes a GET with the cookie: it may change nothing. A form makes a POST, but not of
// JSON.
async function read(request) {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname !== "/graphql") throw new Refused(404, "there is only /graphql");
  const isGet = request.method === "GET";
  if (!isGet && request.method !== "POST") throw new Refused(405, "GET or POST", { allow: "GET, POST" });
  const isJson = /^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "");
  if (!isGet && !isJson) throw new Refused(415, "send application/json");
  const { query, variables, operationName } = isGet ? fromQuery(url.searchParams) : await fromBody(request);
  const document = within(400, () => parse(query, { maxTokens: TOKENS_MAX }));
  const operation = getOperationAST(document, operationName);
  if (!operation) throw new Refused(400, "say which operation");
  if (isGet && operation.operation === "mutation") throw new Refused(405, "mutations by POST alone", { allow: "POST" });
  return { source: query, document, operation, variableValues: variables, operationName };
}

const fromQuery = (parameters) => ({
  query: parameters.get("query"),
  operationName: parameters.get("operationName"),
  variables: within(400, () => JSON.parse(parameters.get("variables") ?? "{}")),
});

async function fromBody(request) {
  let text = "";
  for await (const piece of request.setEncoding("utf8")) {
    text += piece;
    if (text.length > BODY_BYTES_MAX) throw new Refused(413, `a request has at most ${BODY_BYTES_MAX} bytes`);
  }
  const body = within(400, () => JSON.parse(text));
  if (body === null || typeof body !== "object" || Array.isArray(body)) throw new Refused(400, "send one operation");
  return body;
}

function within(status, act) {
  try {
    return act();
  } catch (error) {
    throw new Refused(status, error.message);
  }
}

// Who the request is. By cookie it must come from a page of ours: the sidecar looks at `Origin`.
async function known(request) {
  const { status, who, reason, challenge } = await ask(SIDECAR, request);
  if (status === 200 && who) return who;
  if (reason === "unavailable") throw new Refused(503, "unavailable", { "retry-after": "1" });
  if (status === 403) throw new Refused(403, reason);
  throw new Refused(401, "log in first", { "www-authenticate": challenge ?? "Bearer" });
}

// A stream of server-sent events. Each message is sent only if the session still stands, and without messages it is asked
// again and again: what was let in once is not let in for ever.
async function stream(asked, who, request, response) {
  const errors = validate(schema, asked.document, specifiedRules);
  if (errors.length > 0) return send(response, 200, { errors });
  const over = new AbortController();
  response.on("close", () => over.abort());
  const contextValue = { who, over: over.signal };
  const messages = await subscribe({ ...asked, schema, rootValue: root, contextValue });
  if (!(Symbol.asyncIterator in messages)) return send(response, 200, messages);

  const stands = async () => (await known(request).catch(() => null))?.session === who.session;
  const watch = async () => {
    while (!over.signal.aborted && (await stands())) await wait(AGAIN_MS, null, { signal: over.signal }).catch(() => {});
    over.abort();
  };
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
  response.write(":\n\n");
  const watching = watch();
  try {
    for await (const message of messages) {
      if (!(await stands())) break;
      response.write(`event: next\ndata: ${JSON.stringify(message)}\n\n`);
    }
  } catch (error) {
    if (!over.signal.aborted) console.error(error);
  }
  over.abort();
  await watching;
  response.end("event: complete\ndata:\n\n");
}

function send(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers });
  response.end(`${JSON.stringify(body)}\n`);
}
