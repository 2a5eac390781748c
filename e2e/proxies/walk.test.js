// Real proxies before an application that is not ours, asking `symbolon forward-auth` about every request.
// SYMBOLON names the binary, PROXIES those proxies that are there.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { PROXIES, World } from "./world.js";

const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const BROWSER = ["accept", "text/html,*/*;q=0.8", "sec-fetch-mode", "navigate", "sec-fetch-dest", "document"];
const IDENTITY = ["subject", "session", "client", "roles", "scopes", "assurance", "token"].map((of) => `x-symbolon-${of}`);

for (const proxy of (process.env.PROXIES ?? Object.keys(PROXIES).join()).split(",")) describe(proxy, () => {
  let world, user, admin;

  before(async () => {
    world = await World.start(proxy, binary);
    [user, admin] = [await world.login("user", "session"), await world.login("admin", "session")];
  });
  after(() => world?.stop());

  // What the application got of a header: all its values, without the empty ones.
  const got = (answer, name) => answer.json.headers.filter(([own, value]) => own === name && value !== "").map(([, value]) => value);

  async function until(happened) {
    for (const end = Date.now() + 30_000; !(await happened()); await wait(20)) assert.ok(Date.now() < end, "it did not happen in time");
  }

  // None of these reaches the application.
  async function refused(requests, expected) {
    const before = await world.served();
    for (const [path, options] of requests) {
      const answer = await world.ask(path, options);
      const what = `${options?.method ?? "GET"} ${path} ${JSON.stringify(options?.headers ?? [])}: ${answer.status}`;
      assert.ok(expected(answer), what);
    }
    assert.equal(await world.served(), before, "a request reached the application");
  }

  test("who has no credential is sent to the login, or told how to authenticate", async () => {
    const api = ({ status, headers }) => status === 401 && /^Bearer realm=/.test(headers["www-authenticate"]);
    await refused([["/cart"], ["/cart", { method: "POST", body: "a=1" }]], api);
    await refused([["/cart", { headers: ["authorization", "Bearer no.such.token"] }]], ({ status, headers }) =>
      status === 401 && headers["www-authenticate"].includes("invalid_token"));
    const login = `${world.origin}/auth/login?next=${encodeURIComponent("/cart?a=1&b=2")}`;
    await refused([["/cart?a=1&b=2", { headers: BROWSER }]], ({ status, headers }) =>
      status === 303 && headers.location === login);
    assert.equal((await world.ask(login.slice(world.origin.length))).status, 200, "the login page");
  });

  test("either half gets through, and the application learns who it is", async () => {
    const token = await world.login("user", "token");
    const carried = [["cookie", `a=1; ${user}; b=2`], ["authorization", `Bearer ${token}`]];
    for (const headers of carried) {
      const answer = await world.ask("/cart?a=1", { headers });
      assert.equal(answer.status, 200, `${headers[0]}: ${answer.text}`);
      assert.equal(answer.json.url, "/cart?a=1");
      assert.match(got(answer, "x-symbolon-subject").join(), /^[\w-]{22}$/);
      assert.match(got(answer, "x-symbolon-session").join(), /^[\w-]{22}$/);
      assert.deepEqual(got(answer, "x-symbolon-client"), ["symbolon"]);
      assert.deepEqual(got(answer, "x-symbolon-assurance"), ["aal1"]);
      assert.deepEqual(got(answer, "x-symbolon-roles"), []);
    }
    const posted = await world.ask("/cart", { method: "POST", headers: ["cookie", user, "origin", world.origin], body: "tea" });
    assert.deepEqual([posted.status, posted.json.method, posted.json.body], [200, "POST", "tea"]);
  });

  test("our cookies do not reach the application, others do", async () => {
    const own = ["cookie", `a=1; ${user}; symbolon-access=x; b=2`];
    const answer = await world.ask("/cart", { headers: own });
    assert.deepEqual(got(answer, "cookie"), ["a=1; b=2"]);
    assert.deepEqual(got(await world.ask("/cart", { headers: ["cookie", user] }), "cookie"), []);
    assert.deepEqual(got(await world.ask("/public", { headers: ["cookie", "symbolon=syms_dead"] }), "cookie"), []);
  });

  test("long requests get through as they are", async () => {
    const cookies = `long=${"x".repeat(6_000)}`;
    const path = `/cart?${"a".repeat(3_000)}`;
    const answer = await world.ask(path, { headers: ["cookie", `${cookies}; ${user}`] });
    assert.deepEqual([answer.status, answer.json?.url, got(answer, "cookie")], [200, path, [cookies]]);
    const sent = await world.ask(path, { headers: ["cookie", cookies, ...BROWSER] });
    assert.deepEqual([sent.status, sent.headers.location], [303, `${world.origin}/auth/login?next=${encodeURIComponent(path)}`]);
  });

  test("what is ended is refused from the next request on", async () => {
    const out = (headers, how = "") => world.ask(`/auth/api/v1/logout${how}`, { method: "POST", headers });
    const cookie = ["cookie", await world.login("user", "session")];
    const token = ["authorization", `Bearer ${await world.login("user", "token")}`];
    for (const headers of [cookie, token]) {
      // Twice, so that it is known here.
      for (const _ of [1, 2]) assert.equal((await world.ask("/cart", { headers })).status, 200);
      const ended = await out([...headers, "origin", world.origin], "?confirm=true");
      assert.deepEqual([ended.status, ended.json?.confirmed], [200, true], ended.text);
      await refused([["/cart", { headers }]], ({ status }) => status === 401);
    }
    await refused([["/cart", { headers: [...cookie, ...BROWSER] }]], ({ status }) => status === 303);

    // A strict route does not even need the confirmation.
    const strict = ["cookie", await world.login("admin", "session")];
    assert.equal((await world.ask("/admin", { headers: strict })).status, 200);
    assert.equal((await out([...strict, "origin", world.origin])).status, 204);
    await refused([["/admin", { headers: strict }]], ({ status }) => status === 401);
  });

  test("the application's own way out ends the login", async () => {
    const cookie = await world.login("user", "session");
    const post = (headers) => world.ask("/_symbolon/logout?next=/public", { method: "POST", headers });
    assert.equal((await post(["cookie", cookie, "origin", "https://evil.example"])).status, 403);
    assert.equal((await world.ask("/cart", { headers: ["cookie", cookie] })).status, 200);
    const out = await post(["cookie", cookie, "origin", world.origin]);
    assert.deepEqual([out.status, out.headers.location], [303, "/public"]);
    assert.match(out.headers["set-cookie"].join(), /^symbolon=;.*Max-Age=0/);
    assert.equal((await world.ask("/cart", { headers: ["cookie", cookie] })).status, 401);
  });

  test("rules go by paths, roles and methods", async () => {
    for (const path of ["/admin", "/admin/", "/admin/users?x=/public", "/admin?/public"]) {
      assert.equal((await world.ask(path, { headers: ["cookie", admin] })).status, 200, path);
      await refused([[path, { headers: ["cookie", user] }]], ({ status }) => status === 403);
      await refused([[path, { headers: ["cookie", user, ...BROWSER] }]], ({ status }) => status === 403);
      await refused([[path]], ({ status }) => status === 401);
    }
    const anonymous = await world.ask("/public/page");
    assert.equal(anonymous.status, 200);
    for (const name of IDENTITY) assert.deepEqual(got(anonymous, name), [], name);
    assert.equal(got(await world.ask("/public", { headers: ["cookie", user] }), "x-symbolon-subject").length, 1);
    assert.equal((await world.ask("/public", { headers: ["cookie", "symbolon=syms_dead"] })).status, 200);
  });

  test("nobody writes the identity but the gate", async () => {
    const names = [...IDENTITY, ...IDENTITY.map((name) => name.replaceAll("-", "_")), "X-SYMBOLON-Subject"];
    const spoofed = names.flatMap((name) => [name, "admin"]);
    for (const own of [[], ["cookie", user], ["cookie", admin]]) {
      const answer = await world.ask("/public", { headers: [...spoofed, ...own, ...spoofed] });
      const reached = JSON.stringify(answer.json.headers.filter(([, value]) => value.split(", ").includes("admin")));
      assert.equal(reached, own[1] === admin ? '[["x-symbolon-roles","admin"]]' : "[]");
    }
    // What only the proxy may say.
    const told = ["X-Original-URI", "/public", "X-Original-Method", "GET", "X-Forwarded-Uri", "/public", "X-Forwarded-Method", "GET"];
    await refused([["/cart", { headers: told }], ["/cart", { headers: [...told, ...told] }]], ({ status }) => status === 401);
    await refused([["/admin", { headers: [...told, "cookie", user] }]], ({ status }) => status === 403);
    await refused([["/cart", { method: "POST", headers: [...told, "cookie", user, "origin", "https://evil.example"] }]],
      ({ status }) => status === 403);
  });

  test("another site's pages change nothing", async () => {
    const foreign = [
      ["origin", "https://evil.example"],
      ["origin", "null"],
      ["sec-fetch-site", "cross-site"],
      ["origin", world.origin, "sec-fetch-site", "cross-site"],
      [],
    ];
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
      const requests = foreign.map((headers) => ["/cart", { method, headers: ["cookie", user, ...headers] }]);
      await refused(requests, ({ status }) => status === 403);
    }
    const socket = ["connection", "Upgrade", "upgrade", "websocket", "sec-websocket-version", "13",
      "sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==", "cookie", user];
    await refused([["/cart", { headers: [...socket, "origin", "https://evil.example"] }]], ({ status }) => status === 403);
  });

  test("no path is read in two ways", async () => {
    const paths = [
      ..."/public/../admin /public/%2e%2e/admin /public/%2E./admin /public/./../admin /public/..%2fadmin".split(" "),
      ..."/admin/../public //admin /public//../admin /%61dmin /admin%2f /admin%2fusers /public%2f..%2fadmin".split(" "),
      ..."/public/..;/admin /public;/../admin /admin;x /public\\..\\admin /public/%5c../admin /%2561dmin".split(" "),
      ..."/public/%c0%ae%c0%ae/admin /admin%00 /admin/. /public/%2e%2e%2fadmin /auth/../admin /_symbolon/../admin".split(" "),
    ];
    // Proxies refuse some by themselves.
    const expected = ({ status }) => [400, 403, 404].includes(status);
    await refused(paths.map((path) => [path, { headers: ["cookie", user] }]), expected);
    await refused(paths.map((path) => [path, { headers: ["cookie", admin] }]), expected);
  });

  test("what is doubled is refused", async () => {
    const twice = [["cookie", `${user}; ${admin}`], ["cookie", user, "cookie", admin]];
    await refused(twice.map((headers) => ["/cart", { headers }]), ({ status }) => [400, 403].includes(status));
    await refused([["/cart", { headers: ["host", "evil.example"] }]], ({ status }) => [400, 401, 403].includes(status));
    await refused([["/check"], ["/_symbolon/check"]], ({ status }) => [401, 404].includes(status));
  });

  test("without the server nobody gets in, and nobody is logged out", async () => {
    const unavailable = ({ status }) => status === 503;
    const strict = ["/admin", { headers: ["cookie", admin] }];
    const usual = [["/cart", { headers: ["cookie", user] }], ["/cart", { headers: ["cookie", user, ...BROWSER] }]];
    for (const signal of ["SIGSTOP", "SIGKILL"]) {
      await world.signal("server", signal);
      await refused([strict], unavailable);
      // What is known here gets in until the lease is over.
      await until(async () => (await world.ask(...usual[0])).status === 503);
      await refused(usual, unavailable);
      assert.equal((await world.ask("/public", { headers: ["cookie", user] })).status, 200);
      await world.signal("server", "SIGCONT");
      if (signal === "SIGSTOP") await until(async () => (await world.ask(...usual[0])).status === 200);
    }
  });

  test("without forward-auth nobody gets in at all", async () => {
    const down = ({ status }) => status >= 500;
    await world.signal("forward", "SIGSTOP");
    await refused([["/public"]], down);
    await world.signal("forward", "SIGKILL");
    await refused([["/cart", { headers: ["cookie", user] }], ["/public"]], down);
    world.startForward();
    await until(async () => (await world.ask("/public")).status === 200);
  });
});
