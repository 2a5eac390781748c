// Real clients, unchanged, from their registries: each logs in through the real pages, calls an API, refreshes, logs out
// and sees the session end. SYMBOLON names the binary, CLIENTS those that shall run.

import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { APIS, CLIENTS } from "./clients.js";
import { PageWalk } from "./page-walk.js";
import { Walk } from "./walk.js";
import { AUDIENCE, BackChannel, World, cannot, freePort } from "./world.js";

const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const names = Object.keys(CLIENTS).filter((name) => process.env.CLIENTS?.split(",").includes(name) ?? true);
let world;

before(async () => {
  world = await World.start(binary);
  // The key set has keys in it that some clients do not know.
  world.register("other", "public", { "first-party": true, algorithm: "EdDSA", audience: AUDIENCE });
});
after(() => world?.stop());

for (const name of names) test(name, { timeout: 120_000 }, async (t) => {
  const client = { callback: "/callback", left: "/left", logout: () => "/logout", ...CLIENTS[name] };
  const api = APIS[client.api];
  const lack = client.lacks() ?? api.lacks();
  if (lack) return cannot(t, lack);
  const Way = client.page ? PageWalk : Walk;
  const walk = await Way.start(world, name, client, await begin(t, name, client, api));
  t.after(() => walk.stop?.());
  const steps = ["logs in", "calls an API", "refreshes", "sees the session end", "logs out", "is told of the end"];
  let broken;
  for (const step of steps) {
    const cannotHear = step === "is told of the end" && !client.backchannel && `${name} knows no back-channel logout`;
    const reason = broken ? `"${broken}" failed` : cannotHear;
    const skip = reason && `skipped, because ${reason}`;
    await t.test(`${name} ${step}`, { skip }, async () => {
      try {
        await walk[step]();
      } catch (error) {
        broken = step;
        throw Object.assign(error, { stack: `${error.stack}\n--- ${name} said:\n${walk.log()}` });
      }
    });
  }
});

// Starts the API and the client, with what it needs behind it, and registers the client at the server.
async function begin(t, name, client, api) {
  t.after(() => world.stopPrograms());
  const PORT = await freePort();
  const url = `http://localhost:${PORT}`;
  const uris = [].concat(client.callback).map((path) => url + path);
  const { kind = "confidential", type = "at+jwt" } = client;
  const channel = client.backchannel && (await BackChannel.before(url + client.backchannel));
  t.after(() => channel?.stop());
  const options = {
    ...{ audience: AUDIENCE, "token-type": type, origin: client.page ? url : [] },
    "first-party": client.consent ? [] : true,
    ...{ "redirect-uri": uris, "post-logout-redirect-uri": url + client.left },
    "backchannel-logout-uri": channel?.url ?? [],
  };
  const CLIENT_SECRET = world.register(name, kind, options);
  const env = { ISSUER: world.issuer, CLIENT_ID: name, CLIENT_SECRET, AUDIENCE, PORT };
  const ports = { api: await freePort(), upstream: await freePort() };
  Object.assign(env, { API: `http://localhost:${ports.api}`, UPSTREAM: `http://localhost:${ports.upstream}` });
  const [checks, program] = await Promise.all([
    world.run(api.command(), { ...env, TYPE: type, PORT: ports.api }),
    world.run(client.command(env), { ...env, ...client.env?.(env) }),
    client.upstream && world.run(["node", "node/upstream.js"], { ...client.upstream, API: env.API, PORT: ports.upstream }),
  ]);
  return { api: checks, program, channel };
}
