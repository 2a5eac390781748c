// Real clients, unchanged, from their registries: each logs in through the real pages, calls an API, refreshes, logs out
// and sees the session end. SYMBOLON names the binary, CLIENTS those that shall run.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { Browser } from "./browser.js";
import { APIS, CLIENTS } from "./clients.js";
import { AUDIENCE, World, freePort, until } from "./world.js";

const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const names = process.env.CLIENTS?.split(",") ?? Object.keys(CLIENTS);
let world;

before(async () => {
  world = await World.start(binary);
});
after(() => world?.stop());

for (const name of names) test(name, { timeout: 120_000 }, async (t) => {
  const client = { callback: "/callback", logout: () => "/logout", ...CLIENTS[name] };
  const api = APIS[client.api];
  const lack = client.lacks() ?? api.lacks();
  if (lack) return cannot(t, lack, client.optional);
  const walk = new Walk(name, client, await begin(t, name, client, api));
  const steps = ["logs in", "calls an API", "refreshes", "sees the session end", "logs out", "is told of the end"];
  let broken;
  for (const step of steps) {
    const skip = broken ? `skipped, because "${broken}" failed` : walk.lacks(step);
    await t.test(`${name} ${step}`, { skip }, async () => {
      try {
        await walk[step]();
      } catch (error) {
        broken = step;
        error.message += `\n--- ${name} said:\n${walk.log()}`;
        throw error;
      }
    });
  }
});

// What cannot run says why, and is no success where everything must run.
function cannot(t, lack, optional) {
  assert.ok(optional || process.env.CI !== "true", lack);
  t.skip(`skipped, because ${lack}`);
}

// Starts the API and the client, with what it needs behind it, and registers the client at the server.
async function begin(t, name, client, api) {
  const started = async (...args) => {
    const program = await world.run(...args);
    t.after(() => program.stop());
    return program;
  };
  const PORT = await freePort();
  const url = `http://localhost:${PORT}`;
  const uris = [].concat(client.callback).map((path) => url + path);
  const { kind = "confidential", type = "at+jwt" } = client;
  const CLIENT_SECRET = world.register(name, kind, { "redirect-uri": uris, "token-type": type });
  const env = { ISSUER: world.issuer, CLIENT_ID: name, CLIENT_SECRET, AUDIENCE, PORT };
  const ports = { api: await freePort(), upstream: await freePort() };
  Object.assign(env, { API: `http://localhost:${ports.api}`, UPSTREAM: `http://localhost:${ports.upstream}` });
  const [checks, program] = await Promise.all([
    started(api.command(), { ...env, TYPE: type, PORT: ports.api }),
    started(client.command(env), { ...env, ...client.env?.(env) }),
    client.upstream && started(["node", "node/upstream.js"], { ...client.upstream, API: env.API, PORT: ports.upstream }),
  ]);
  return { api: checks, program };
}

class Walk {
  #browser = new Browser();

  constructor(name, client, { api, program }) {
    Object.assign(this, { name, client, api, program, url: program.url });
  }

  log() {
    return `${this.program.log}\n--- its API said:\n${this.api.log}`;
  }

  // Why a step cannot be taken, or nothing.
  lacks(step) {
    const { client } = this;
    const listed = (name) => (world.metadata[name] ? undefined : `skipped, because the server's metadata has no ${name}`);
    if (step === "logs out") return listed("end_session_endpoint");
    if (step === "is told of the end") {
      if (!client.backchannel) return `skipped, because ${this.name} knows no back-channel logout`;
      return listed("backchannel_logout_supported");
    }
  }

  async "logs in"() {
    const inside = await this.#logIn();
    assert.equal(this.#who(inside).sub, world.user.sub);
    this.sid = this.#who(inside).sid;
    const again = await this.#browser.goto(`${this.url}/`);
    assert.deepEqual(again.way.length, 1, `it remembers: ${again.way}`);
  }

  async "calls an API"() {
    const { sub, iss, aud, client_id, sid } = await this.#callApi();
    assert.deepEqual([iss, client_id], [world.issuer, this.name]);
    assert.ok(aud.includes(AUDIENCE), aud);
    assert.equal(sub, world.user.sub);
    if (this.sid) assert.equal(sid, this.sid);
  }

  async refreshes() {
    const { jti, sid } = await this.#callApi();
    await this.#refresh();
    let next;
    await until(async () => (next = await this.#callApi()).jti !== jti, "another access token");
    assert.equal(next.sid, sid);
  }

  // Without a back channel it hears of it at the next refresh.
  async "sees the session end"() {
    await this.#leaveServer();
    await this.#refresh();
    await this.#asksForLogin(this.client.refreshing ?? "/");
  }

  async "logs out"() {
    this.#browser = new Browser();
    await this.#logIn();
    const page = await this.#browser.goto(this.url + this.client.logout(this));
    assert.equal(page.status, 200, page.text);
    await this.#asksForLogin("/");
    const account = await this.#browser.goto(`${world.issuer}/account`);
    assert.ok(account.text.includes('id="login-form"'), "the login at the server is over, too");
  }

  async "is told of the end"() {
    this.#browser = new Browser();
    await this.#logIn();
    await this.#leaveServer();
    await this.#asksForLogin("/");
  }

  // What the client says of who is logged in.
  #who(page) {
    assert.equal(page.status, 200, `${page.way.join("\n")}\n${page.text}`);
    return (this.client.who ?? (({ text }) => JSON.parse(text)))(page);
  }

  async #logIn() {
    const page = await this.#browser.goto(`${this.url}/`);
    assert.ok(page.url.startsWith(`${world.issuer}/login`), `${page.way.join("\n")}\n${page.status} ${page.text}`);
    const { username, password } = world.user;
    const inside = await this.#browser.submit(page, { username, password }, "login-form");
    assert.ok(inside.url.split("?")[0] === `${this.url}/`, `${inside.way.join("\n")}\n${inside.status} ${inside.text}`);
    return inside;
  }

  async #callApi() {
    const answer = await this.#browser.goto(`${this.url}/api`);
    assert.equal(answer.status, 200, answer.text);
    return JSON.parse(answer.text);
  }

  // Who refreshes by itself does so with the next request.
  async #refresh() {
    if (!this.client.refreshing) await this.#browser.goto(`${this.url}/refresh`);
  }

  async #leaveServer() {
    const page = await this.#browser.goto(`${world.issuer}/logout`);
    await this.#browser.submit(page, {}, "logout-form");
  }

  // At once, or as soon as it has heard of the end.
  async #asksForLogin(path) {
    let page;
    const asks = async () => (page = await this.#browser.goto(this.url + path)).url.startsWith(`${world.issuer}/login`);
    await until(asks, () => `that it asks for a login again:\n${page.way.join("\n")}\n${page.status} ${page.text}`);
  }
}
