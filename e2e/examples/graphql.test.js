// The GraphQL API behind its sidecar: by cookie and by token, and the end of a stream.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { World, cannot, freePort, until } from "../clients/world.js";
import { binary, lacks, settled } from "./examples.js";

const lack = lacks.node("graphql");
const POST = 'mutation { post(text: "hello") { text by } }';
let world, folder, url, origin;

before(async () => {
  if (lack) return;
  world = await World.start(binary);
  folder = await mkdtemp(join(tmpdir(), "symbolon-graphql-"));
  const [PORT, sidecar] = [await freePort(), await freePort()];
  origin = `http://localhost:${PORT}`;
  url = `${origin}/graphql`;
  await writeFile(join(folder, "secret"), world.register("graphql", "resource", { audience: origin }));
  world.register("app", "public", { "first-party": true, audience: origin });
  const ports = { 3000: PORT, 8090: sidecar };
  const text = (await readFile(settled("graphql/forward-auth.toml"), "utf8"))
    .replaceAll("http://localhost:8080", world.issuer)
    .replace(/:(3000|8090)\b/g, (_, port) => `:${ports[port]}`)
    .replace('"secret"', JSON.stringify(join(folder, "secret")));
  await writeFile(join(folder, "forward-auth.toml"), text);
  await world.run([binary, "forward-auth", "--config", join(folder, "forward-auth.toml")], { PORT: sidecar });
  const SIDECAR = `http://127.0.0.1:${sidecar}`;
  await until(async () => (await fetch(`${SIDECAR}/readyz`)).ok, "the sidecar is ready");
  await world.run(["node", settled("graphql/server.js")], { PORT, SIDECAR });
});
after(async () => {
  await world?.stop();
  if (folder) await rm(folder, { recursive: true });
});
const it = (name, run) => test(name, { timeout: 60_000 }, (t) => (lack ? cannot(t, lack) : run(t)));

// A login: the headers that carry it, and its session.
async function logIn(deliver, username = "user") {
  const { password } = world.server.users.find((user) => user.username === username);
  const client = deliver === "token" ? { client_id: "app" } : {};
  const answer = await fetch(`${world.issuer}/api/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username, password, deliver, ...client }),
  });
  const { sid, access_token } = await answer.json();
  const cookie = answer.headers.get("set-cookie")?.split(";")[0];
  return { sid, headers: access_token ? { authorization: `Bearer ${access_token}` } : { cookie } };
}

// Not `fetch`, which has ideas of its own about cookies and origins.
const send = (to, { method = "GET", headers = {}, body } = {}) =>
  new Promise((done, failed) => {
    const asked = request(to, { method, headers }, (answer) => {
      const it = { status: answer.statusCode, text: "", isOver: false };
      answer.setEncoding("utf8").on("data", (piece) => (it.text += piece)).on("end", () => (it.isOver = true));
      if (answer.headers["content-type"] === "text/event-stream") return done(it);
      answer.on("end", () => done({ ...it, json: JSON.parse(it.text) }));
    });
    asked.on("error", failed).end(body);
  });

const post = (query, headers) =>
  send(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ query }) });
const get = (query, headers) => send(`${url}?${new URLSearchParams({ query })}`, { headers });

it("who comes by cookie from a page of ours, and who comes by token, is known", async () => {
  const [cookie, token] = [await logIn("session"), await logIn("token")];
  const { sub } = world.user;
  for (const headers of [{ ...cookie.headers, origin }, token.headers]) {
    assert.deepEqual((await post("{ me { id } }", headers)).json, { data: { me: { id: sub } } });
    assert.deepEqual((await post(POST, headers)).json, { data: { post: { text: "hello", by: sub } } });
    assert.equal((await get("{ messages { text } }", headers)).status, 200);
  }
  const { errors } = (await post("mutation { clear }", token.headers)).json;
  assert.match(errors[0].message, /administrators/);
  const admin = await logIn("token", "admin");
  assert.deepEqual((await post("mutation { clear }", admin.headers)).json, { data: { clear: true } });
});

it("CSRF: another site's page reads and changes nothing with the cookie", async () => {
  const { headers } = await logIn("session");
  for (const from of [{ origin: "https://evil.example" }, { origin: "null" }, {}, { origin, "sec-fetch-site": "cross-site" }]) {
    const answer = await post(POST, { ...headers, ...from });
    assert.equal(answer.status, 403, JSON.stringify(from));
  }
  // A form cannot send JSON, and a link makes a GET.
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]) {
    const options = { method: "POST", headers: { ...headers, origin, "content-type": type }, body: JSON.stringify({ query: POST }) };
    assert.equal((await send(url, options)).status, 415, type);
  }
  const two = new URLSearchParams({ query: `query a { messages { id } } ${POST.replace("mutation", "mutation b")}`, operationName: "b" });
  assert.equal((await get(POST, { ...headers, origin })).status, 405);
  assert.equal((await send(`${url}?${two}`, { headers: { ...headers, origin } })).status, 405);
  assert.deepEqual((await get("{ messages { id } }", headers)).json, { data: { messages: [] } });
});

it("nobody gets in without a login, and over the limits it says so", async () => {
  const { headers } = await logIn("token");
  for (const none of [{}, { origin }, { authorization: "Bearer no" }, { cookie: "symbolon=syms_no", origin }]) {
    assert.equal((await post("{ me { id } }", none)).status, 401, JSON.stringify(none));
  }
  assert.equal((await post(`{ ${"me { id } ".repeat(200)} }`, headers)).status, 400);
  assert.equal((await post("x".repeat(20_000), headers)).status, 413);
  assert.equal((await post("{ me { id }", headers)).status, 400);
  const body = JSON.stringify([{ query: POST }, { query: POST }]);
  const batch = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body };
  assert.equal((await send(url, batch)).status, 400);
});

it("a subscription ends with its session, whoever it came by, and the others' go on", async () => {
  const logins = [await logIn("session"), await logIn("token"), await logIn("token")];
  const streams = await Promise.all(logins.map(({ headers }) => get("subscription { posted { text } }", headers)));
  const texts = (stream) => [...stream.text.matchAll(/"text":"(\w+)"/g)].map(([, text]) => text);
  const [cookie, token, other] = streams;
  const say = (text) => post(`mutation { post(text: "${text}") { id } }`, logins[2].headers);

  await say("first");
  for (const stream of streams) await until(() => texts(stream).length === 1, "the first message");
  // Once an end is confirmed nothing is sent any more, though the stream may still be open.
  for (const { sid } of logins.slice(0, 2)) {
    assert.equal(world.cli("session", "end", sid, "--confirm").confirmed, true);
  }
  await say("second");
  await until(() => texts(other).length === 2, "the second message");
  for (const stream of [cookie, token]) {
    await until(() => stream.isOver, "the end of the stream");
    assert.deepEqual(texts(stream), ["first"]);
    assert.match(stream.text, /event: complete/);
  }
  // Without any message, too.
  assert.ok(!other.isOver);
  world.cli("session", "end", logins[2].sid, "--confirm");
  await until(() => other.isOver, "the end of the stream");
});
