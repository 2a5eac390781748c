// An Express application behind express-session: `node --expose-gc express-session.js WHICH [REDIS]`, with the routes of
// sessions/src/main.rs. It prints a line of JSON: its version, and the port where it listens.

import { createRequire } from "node:module";
import express from "express";

const [which, url] = process.argv.slice(2);
const { version } = createRequire(import.meta.url)(
  which === "express" ? "express/package.json" : "express-session/package.json",
);
const app = express();
let last = 1_000_000;

app.get("/weight", (_, response) => {
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  response.send(`bytes=${heapUsed + external}&`);
});

if (which !== "express") {
  const { default: session } = await import("express-session");
  // Its notice about the memory store.
  console.warn = () => {};
  let store = new session.MemoryStore();
  if (which === "express-redis") {
    const { createClient } = await import("redis");
    const { RedisStore } = await import("connect-redis");
    store = new RedisStore({ client: await createClient({ url }).connect() });
  }
  // `resave: false` and `saveUninitialized: false`, as its README advises; idle limits work by its `touch`.
  app.use(
    session({
      name: "session",
      secret: "a secret of the bench",
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 3_600_000 },
      store,
    }),
  );
}

const OK = '"ok"';
const write = (request) => {
  request.session.number = ++last;
  return OK;
};
const routes = {
  "/none": () => OK,
  "/read": (request) => (request.session.number ? OK : '"nothing"'),
  "/write": write,
  "/new": write,
  "/login": (request) => {
    request.session.user = `user-${last + 1}`;
    return write(request);
  },
};
for (const [path, act] of Object.entries(routes)) {
  app.get(path, (request, response) => {
    const answer = which === "express" ? OK : act(request);
    response.send(answer);
  });
}

const server = app.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ version, port: server.address().port }));
});
