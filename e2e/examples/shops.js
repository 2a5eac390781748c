// A shop three times behind nginx, without stickiness: the server, the sidecar and the proxy with the files of
// examples/express, of which only the ports change.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as ask } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { Browser } from "../clients/browser.js";
import { World, cannot, freePort, until } from "../clients/world.js";
import { binary, settled } from "./examples.js";

const run = promisify(execFile);
const FILES = ["three-instances.toml", "forward-auth.toml", "nginx.conf"];

// Between the instances and the server; what is written waits while it is shut, and without the server nothing comes back.
class Gate {
  isOpen = true;
  isAway = false;
  waiting = [];

  static async before(port) {
    const gate = new Gate();
    gate.server = createServer((request, response) => gate.#hand(port, request, response)).listen(0, "127.0.0.1");
    await once(gate.server, "listening");
    gate.port = gate.server.address().port;
    return gate;
  }

  async #hand(port, request, response) {
    if (this.isAway) return response.destroy();
    if (request.method === "PATCH" && !this.isOpen) await new Promise((open) => this.waiting.push(open));
    const { method, url: path, headers } = request;
    const asked = ask({ host: "127.0.0.1", port, method, path, headers }, (answer) => {
      answer.pipe(response.writeHead(answer.statusCode, answer.headers));
    });
    request.pipe(asked.on("error", () => response.destroy()));
  }

  open() {
    this.isOpen = true;
    for (const open of this.waiting.splice(0)) open();
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}

export class Shops extends World {
  // `command` starts an instance.
  static async start(command, LOGIN = "oidc") {
    const shops = Object.assign(new Shops(), { binary, LOGIN });
    try {
      await shops.#begin(command);
      return shops;
    } catch (error) {
      await shops.stop();
      throw error;
    }
  }

  async #begin(command) {
    this.folder = await mkdtemp(join(tmpdir(), "symbolon-shops-"));
    const ports = Object.fromEntries(await Promise.all([8000, 8080, 8090, 3001, 3002, 3003].map(async (it) => [it, await freePort()])));
    this.url = `http://localhost:${ports[8000]}`;
    const CLIENT_SECRET = randomBytes(32).toString("hex");
    const at = (file) => join(this.folder, file);
    await writeFile(at("secret"), CLIENT_SECRET);
    for (const file of FILES) {
      const text = (await readFile(settled(`express/${file}`), "utf8")).replaceAll("/tmp/shop-", `${this.folder}/`);
      await writeFile(at(file), text.replace(/:(8000|8080|8090|300\d)\b/g, (_, port) => `:${ports[port]}`));
    }
    const quick = ["password.memory_kib=8", "password.iterations=1"].flatMap((it) => ["--set", it]);
    const secret = ["--set", `client.shop.secret_file=${at("secret")}`];
    const server = [this.binary, "dev", "--json", "--no-demo", "--data-dir", at("data"), "--config", at("three-instances.toml")];
    const [started] = await Promise.all([
      this.run([...server, ...secret, ...quick], { PORT: ports[8080] }),
      this.run(["nginx", "-p", this.folder, "-e", "stderr", "-c", at("nginx.conf")], { PORT: ports[8000] }),
    ]);
    this.dataDir = at("data");
    let said;
    await until(() => (said = started.log.match(/^\{.*"users".*\}$/m)), () => `its users:\n${started.log}`);
    const { url, users } = JSON.parse(said[0]);
    assert.equal(url, `${this.url}/auth`, "where browsers find it");
    this.user = users.find(({ username }) => username === "user");
    this.clientSecret = CLIENT_SECRET;
    this.gate = await Gate.before(ports[8080]);
    const env = { HERE: this.url, ISSUER: `${this.url}/auth`, SERVER: `http://127.0.0.1:${this.gate.port}/auth` };
    Object.assign(env, { LOGIN: this.LOGIN, SESSIONS: "symbolon", SIDECAR: `http://127.0.0.1:${ports[8090]}`, CLIENT_SECRET });
    const sidecar = [this.binary, "forward-auth", "--config", at("forward-auth.toml"), "--set", `server.client_secret_file=${at("secret")}`];
    await this.run(sidecar, { PORT: ports[8090] });
    await until(async () => (await fetch(`${env.SIDECAR}/readyz`)).ok, "the sidecar is ready");
    this.instances = await Promise.all([3001, 3002, 3003].map((it) => this.run(command, { ...env, PORT: ports[it] })));
  }

  async stop() {
    await super.stop();
    this.gate?.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  async put(browser, what) {
    const page = await browser.goto(`${this.url}/`);
    const answer = await browser.submit(page, {}, `put-${what}`);
    assert.equal(answer.status, 200, this.log(answer));
  }

  // How many things are in the cart at the checkout, or that a login is needed.
  async count(browser) {
    const answer = await browser.goto(`${this.url}/checkout`);
    if (answer.text.includes('id="login-form"')) return "login";
    assert.equal(answer.status, 200, this.log(answer));
    return JSON.parse(answer.text).count;
  }

  async logIn(browser) {
    const page = await browser.goto(`${this.url}/checkout`);
    const { username, password } = this.user;
    const inside = await browser.submit(page, { username, password }, "login-form");
    assert.equal(inside.status, 200, this.log(inside));
  }

  async logOut(browser) {
    const page = await browser.goto(`${this.url}/`);
    const out = await browser.submit(page, {}, "logout-form");
    assert.equal(out.status, 200, this.log(out));
  }

  // As `cli` does, while the shop goes on.
  async endAll() {
    await run(this.binary, ["session", "end-all", "--user", "user", "--confirm", "--set", `data_dir=${this.dataDir}`]);
  }

  log({ way, status, text }) {
    return `${way.join("\n")}\n${status} ${text}\n${this.instances.map(({ log }) => log).join("\n---\n")}`;
  }
}

/** What a shop on three instances has to do; `lack` says why it cannot run here, `more` adds tests. */
export function threeInstances(name, lack, command, LOGIN, more) {
  describe(`three instances of ${name}`, () => {
    let shops;
    before(async () => {
      if (!lack) shops = await Shops.start(command, LOGIN);
    });
    after(() => shops?.stop());
    const it = (name, run) => test(name, { timeout: 60_000 }, (t) => (lack ? cannot(t, lack) : run(t)));

    it("a cart survives the login, and the logout is over at each instance at once", async () => {
      const browser = new Browser();
      await shops.put(browser, "tea");
      await shops.put(browser, "lamp");
      await shops.put(browser, "tea");
      assert.deepEqual(await shops.count(browser), "login");
      await shops.logIn(browser);
      assert.equal(await shops.count(browser), 3);
      await shops.put(browser, "bell");
      for (const _ of [1, 2, 3]) assert.equal(await shops.count(browser), 4, "whichever instance answers");

      const copy = browser.copy();
      await shops.logOut(browser);
      // Also for who has stolen every cookie.
      for (const one of [browser, copy]) for (const _ of [1, 2, 3]) assert.equal(await shops.count(one), "login");
      assert.match((await browser.goto(shops.url)).text, /<ul id="cart"><\/ul>/, "the cart left with its user");
    });

    it("requests at the same time, at whatever instance, lose nothing of each other", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      await shops.put(browser, "tea");
      await Promise.all(["tea", "lamp", "bell"].map((what) => shops.put(browser, what)));
      assert.equal(await shops.count(browser), 4);
    });

    it("what is written after its session has ended is not kept, and brings nothing back", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      await shops.put(browser, "tea");
      const copy = browser.copy();
      const page = await copy.goto(`${shops.url}/`);
      shops.gate.isOpen = false;
      const late = copy.submit(page, {}, "put-lamp");
      await until(() => shops.gate.waiting.length === 1, "the cart is being written");
      shops.cli("session", "end-all", "--user", "user", "--confirm");
      shops.gate.open();
      await late;
      for (const one of [browser, copy]) for (const _ of [1, 2, 3]) assert.equal(await shops.count(one), "login");
      await shops.logIn(browser);
      assert.equal(await shops.count(browser), 0);
    });

    it("requests that run while their login ends bring nothing back, at whatever instance", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      const page = await browser.goto(`${shops.url}/`);
      const copies = Array.from({ length: 24 }, () => browser.copy());
      const put = (copy, n) => copy.submit(page, {}, `put-${["tea", "lamp", "bell"][n % 3]}`);
      const before = copies.slice(0, 12).map(put);
      await Promise.all([...before, shops.endAll(), ...copies.slice(12).map(put)]);
      for (const one of [browser, ...copies]) assert.equal(await shops.count(one), "login");
    });

    it("while the server is away the answer is 503, and afterwards everybody is still logged in", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      await shops.put(browser, "tea");
      shops.gate.isAway = true;
      for (const _ of [1, 2, 3]) assert.equal((await browser.goto(`${shops.url}/`)).status, 503);
      shops.gate.isAway = false;
      assert.equal(await shops.count(browser), 1);
    });

    it("an administrator's end is over at each instance at once", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      await shops.put(browser, "tea");
      assert.equal(await shops.count(browser), 1);
      shops.cli("session", "end-all", "--user", "user", "--confirm");
      for (const _ of [1, 2, 3]) assert.equal(await shops.count(browser), "login");
    });

    it("a session id that was planted before the login is worth nothing after it", async () => {
      const browser = new Browser();
      await shops.put(browser, "tea");
      const attacker = browser.copy();
      await shops.logIn(browser);
      assert.equal(await shops.count(browser), 1);
      assert.equal(await shops.count(attacker), "login");
      assert.match((await attacker.goto(shops.url)).text, /<ul id="cart"><\/ul>/);
    });

    it("another site's page puts nothing into the cart", async () => {
      const browser = new Browser();
      await shops.logIn(browser);
      for (const origin of ["https://evil.example", "null"]) {
        const answer = await browser.goto(`${shops.url}/cart/tea`, { method: "POST", headers: { origin } });
        assert.equal(answer.status, 403);
      }
      assert.equal(await shops.count(browser), 0);
    });

    more?.(it, () => shops);
  });
}
