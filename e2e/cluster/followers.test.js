// Followers that ask through the proxy, which gives each question to the next server. They hold up no confirmation, hear of
// each end before it is confirmed, and are waited out when they are cut off.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PROXY, World, lacks, until } from "./world.js";

const skip = lacks() && `skipped, because ${lacks()}`;
const ROUNDS = 200;
// Longer than anybody waits below: who leaves a lease behind anywhere is found out.
const LEASE = "10s";
const LESS = "5s";
let world, user, api, gate;

before(async () => {
  if (skip) return;
  world = await World.start({ "revocation.lease": LEASE });
  user = await world.addUser("user");
  api = await world.addFollower("cart-api", "api");
  gate = await world.addFollower("gate", "forward-auth");
  const { headers } = await login();
  for (const follower of world.followers) {
    await until(async () => (await world.askFollower(follower, headers)).status === 200, `that ${follower.name} follows`);
  }
  // A server that has just started lets a lease pass before it confirms: each is asked once, in turn.
  for (let round = 0; round < 6; round++) assert.equal((await end(await login(), "25s")).json.confirmed, true);
});
after(() => world?.stop());

async function login(deliver = "token") {
  const answer = await world.ask("/api/v1/login", { json: { ...user, deliver } });
  assert.equal(answer.status, 200, answer.text);
  const cookie = answer.headers["set-cookie"]?.[0].split(";")[0];
  const headers = cookie ? ["cookie", cookie] : ["authorization", `Bearer ${answer.json.access_token}`];
  return { sid: answer.json.sid, headers };
}

const end = ({ headers }, confirm) =>
  world.ask(`/api/v1/logout?confirm=${confirm}`, { method: "POST", headers: [...headers, "origin", world.origin] });
const statuses = async (followers, { headers }) =>
  Promise.all(followers.map(async (follower) => (await world.askFollower(follower, headers)).status));

test(`followers behind ${PROXY}: no confirmation waits for a lease, and nothing is accepted after it`, { skip, timeout: 300_000 }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    // The gate knows cookies, too.
    const [deliver, followers] = round % 2 === 0 ? ["token", [api, gate]] : ["session", [gate]];
    const told = await login(deliver);
    assert.deepEqual(await statuses(followers, told), followers.map(() => 200), `round ${round}`);
    const ended = await end(told, LESS);
    assert.deepEqual([ended.status, ended.json?.confirmed], [200, true], `round ${round}: ${ended.text}`);
    assert.deepEqual(await statuses(followers, told), followers.map(() => 401), `round ${round}`);
  }
  const servers = await world.cli(0, ["cluster", "status"]);
  const leases = servers.reduce((sum, { followers }) => sum + followers, 0);
  assert.equal(leases, world.followers.length, `one lease for each: ${JSON.stringify(servers)}`);
});

test("a follower that is cut off is waited for, and then accepts nothing that has ended", { skip, timeout: 120_000 }, async () => {
  for (const follower of [api, gate]) {
    const [told, other] = [await login(), await login()];
    assert.deepEqual(await statuses([follower], told), [200]);
    follower.wire.cut();
    const before = await end(told, "1ms");
    assert.deepEqual([before.status, before.json.confirmed], [202, false], before.text);
    const ended = await end(other, "20s");
    assert.equal(ended.json.confirmed, true, ended.text);
    const [status] = await statuses([follower], told);
    assert.ok([401, 403].includes(status), `${status}`);
    follower.wire.mend();
    const { headers } = await login();
    await until(async () => (await world.askFollower(follower, headers)).status === 200, `that ${follower.name} follows again`);
    assert.deepEqual(await statuses([follower], told), [401]);
  }
});
