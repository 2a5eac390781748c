// Clients work through a proxy while servers, followers, the database and what is between them break, one after the other.
// Nothing that they were told is lost or untrue, and all goes on by itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Load } from "./load.js";
import { NODES, PROXY, World, lacks, until } from "./world.js";

const skip = lacks() && `skipped, because ${lacks()}`;
const seed = Number(process.env.SEED ?? 1);
// How often every server is restarted.
const ROUNDS = 3;
let world, load, prober;

before(async () => {
  if (skip) return;
  console.log(`PROXY=${PROXY} SEED=${seed}`);
  world = await World.start();
  await world.addFollower("cart-api", "api");
  await world.addFollower("gate", "forward-auth");
  load = await Load.start(world, { clients: 8, seed });
  prober = await world.addUser("prober");
});
after(async () => {
  await load?.stop();
  await world?.stop();
});

// In this order.
const FAULTS = {
  async "a server is killed"() {
    await world.signal(0, "SIGKILL");
    await load.advance(60);
    await world.run(0);
  },
  async "a server is stopped for longer than its lease"() {
    const told = await known();
    await world.signal(1, "SIGSTOP");
    await endedWithout(1, told);
    const refused = load.refusedEverywhere(told);
    await world.signal(1, "SIGCONT");
    await refused;
  },
  async "PostgreSQL is restarted"() {
    await world.database.stop();
    await load.answers(503);
    await world.database.run();
  },
  async "PostgreSQL is killed"() {
    await world.database.kill();
    await load.answers(503);
    await world.database.run();
  },
  async "connections to PostgreSQL are cut"() {
    const others = "datname = 'symbolon' AND pid <> pg_backend_pid()";
    for (let round = 0; round < 10; round++) {
      await world.database.sql("symbolon", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
      await load.advance(10);
    }
  },
  async "a server is cut off from PostgreSQL"() {
    const told = await known();
    world.wire.cut();
    await endedWithout(2, told);
    await load.refusedEverywhere(told);
    await load.answers(503);
    world.wire.mend();
    await load.refusedEverywhere(told);
  },
  async "followers are cut off"() {
    for (const follower of world.followers) {
      const told = await known();
      follower.wire.cut();
      await endedWithout(2, told);
      await load.refusedEverywhere(told);
      await load.advance(60);
      follower.wire.mend();
      await load.refusedEverywhere(told);
    }
  },
  async "a server is killed that followers follow, and all are led to others"() {
    for (const node of NODES) {
      await world.signal(node, "SIGKILL");
      await load.advance(30);
      await world.run(node);
    }
  },
};

// A session that every server has seen.
async function known() {
  const { json } = await world.ask("/api/v1/login", { node: 0, json: { ...prober, deliver: "token" } });
  const headers = ["authorization", `Bearer ${json.access_token}`];
  const seen = await Promise.all(NODES.map((node) => world.ask("/api/v1/session", { node, headers })));
  assert.deepEqual(seen.map(({ status }) => status), NODES.map(() => 200));
  // And every follower.
  for (const follower of world.followers) {
    await until(async () => (await world.askFollower(follower, headers)).status === 200, `that ${follower.name} lets in`);
  }
  return { sid: json.sid, headers, refresh: json.refresh_token };
}

// It is ended at one server while another is away, which is waited out.
async function endedWithout(away, told) {
  const node = NODES.find((node) => node !== away);
  const ended = world.ask("/api/v1/logout?confirm=20s", { node, method: "POST", headers: told.headers });
  const going = setInterval(() => load.abandon(1_000), 100);
  const { status, text, json } = await ended;
  clearInterval(going);
  assert.equal(status, 200, text);
  assert.equal(json.confirmed, true, text);
}

const assertTrue = () => assert.ok(load.violations.length === 0, `${load.violations.slice(0, 20).join("\n")}\n${world.log()}`);

for (const [name, breaks] of Object.entries(FAULTS)) {
  test(name, { skip }, async () => {
    await load.broken(name, breaks);
    await load.advance(60);
    assertTrue();
  });
}

test("servers are restarted one by one, and nobody notices", { skip }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    for (const node of NODES) {
      await load.without(node, async () => {
        assert.equal(await world.signal(node, "SIGTERM"), 0);
        await load.advance(20);
        await world.run(node);
      });
      await load.advance(20);
    }
  }
  assertTrue();
});

test("what clients were told is so", { skip }, async () => {
  await load.stop();
  await load.check();
  console.log(`${load.sessions.length} sessions, seed ${seed}`, load.counts);
  assertTrue();
  for (const act of ["login", "read", "visit", "write", "count", "refresh", "end", "confirmed end"]) assert.ok(load.counts[act] > 0, act);
});
