// Clients that work without pause, and a checker that compares what they were told with what is there. What was asked and
// not answered may be either way; everything else has one right answer.

import { setTimeout as wait } from "node:timers/promises";
import { NODES, until } from "./world.js";

const AT_ONCE = 4;
// What a proxy or a server may say while something is broken. 503 says when to ask again.
const UNANSWERED = [0, 502, 503, 504];

// The same order of acts for the same seed, as far as answers come in the same order.
function randomOf(seed) {
  return (below) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

export class Load {
  // What clients were told of each session.
  sessions = [];
  // What was told and must not have been.
  violations = [];
  // How often each act was acknowledged, and each request not answered.
  counts = {};
  #isBroken = false;
  #changes = 0;
  #stopping = false;
  #away;
  #asking = new Map();

  static async start(world, { clients, seed }) {
    const load = Object.assign(new Load(), { world });
    load.shop = await world.addShop(`shop-${seed}`);
    load.users = [];
    for (let client = 0; client < clients; client++) load.users.push(await world.addUser(`user-${seed}-${client}`));
    load.clients = load.users.map((user, client) => load.#client(user, randomOf(seed * 100 + client)));
    return load;
  }

  // Something is broken until `work` is over and all servers can work again.
  async broken(name, work) {
    await this.advance(10);
    [this.#isBroken, this.#changes] = [true, this.#changes + 1];
    const before = this.acknowledged;
    await work();
    for (const node of NODES) await this.world.works(node);
    for (const follower of this.world.followers) await this.#follows(follower);
    [this.#isBroken, this.#changes] = [false, this.#changes + 1];
    console.log(`${name}: ${this.acknowledged - before} acts meanwhile`);
  }

  // Waits until a follower lets in who logs in now.
  async #follows(follower) {
    const { headers } = (await this.#login(this.users[0], "token")) ?? {};
    const isLetIn = async () => (await this.world.askFollower(follower, headers)).status === 200;
    await until(isLetIn, `that ${follower.name} follows`);
  }

  // Something is away on purpose: whoever asks it directly gets no answer, and nobody else may notice.
  async without(node, work) {
    this.#away = node;
    await work();
    this.#away = undefined;
  }

  // Waits until so many more acts were acknowledged.
  advance(acts) {
    const enough = this.acknowledged + acts;
    return until(() => this.acknowledged >= enough || this.violations.length > 0, `${acts} more acts`);
  }

  // Waits until a request was answered in this way.
  async answers(status) {
    const before = this.counts[status] ?? 0;
    await until(() => this.counts[status] > before, `an answer ${status}`);
  }

  get acknowledged() {
    return this.counts.acts ?? 0;
  }

  // Whoever has waited for an answer through nginx for this long goes away.
  abandon(waitedMs) {
    for (const [asking, since] of this.#asking) if (Date.now() - since >= waitedMs) asking.abort();
  }

  async stop() {
    this.#stopping = true;
    await Promise.all(this.clients);
  }

  async #client(user, random) {
    while (!this.#stopping) {
      const told = await this.#login(user, random(3) ? "token" : "session");
      if (!told) continue;
      for (let acts = 3 + random(6); acts > 0 && !this.#stopping; acts--) {
        const act = ["read", "visit", "write", "count", "refresh"][random(5)];
        await this[act](told, 1 + random(AT_ONCE));
      }
      const end = ["stay", "end", "confirmed", "confirmed"][random(4)];
      if (end !== "stay") await this.end(told, end === "confirmed");
    }
  }

  async #login(user, deliver) {
    const answer = await this.#ask("/api/v1/login", { json: { ...user, deliver } });
    if (!this.#is(answer, 200, "login")) return undefined;
    const { sid, access_token: access, refresh_token: refresh } = answer.json;
    const cookie = answer.headers["set-cookie"]?.[0].split(";")[0];
    const headers = access ? ["authorization", `Bearer ${access}`] : ["cookie", cookie, "origin", this.world.origin];
    const told = { sid, user, headers, refresh, refreshed: 0, written: [], asked: 0, counted: 0, mayBeCounted: 0, isUnsure: false, end: undefined };
    this.sessions.push(told);
    return told;
  }

  async read(told) {
    this.#is(await this.#ask("/api/v1/session", told), 200, "read", told);
  }

  // At the followers.
  async visit(told) {
    for (const follower of this.#guarding(told)) {
      const mayFail = this.#failing();
      const visited = async () => (await this.world.askFollower(follower, told.headers)).status === 200;
      // One that has no lease, and that no server answers in time, refuses: but not for long.
      const isLetIn = (await visited()) || mayFail() ? true : await until(visited, "").then(() => true, () => false);
      if (!isLetIn) this.#violated(`${follower.name} refuses it`, told);
      else if (!mayFail()) this.#is({ status: 200 }, 200, "visit", told);
    }
  }

  // The one in JavaScript knows access tokens alone.
  #guarding({ headers }) {
    return this.world.followers.filter(({ kind }) => kind !== "api" || headers[0] === "authorization");
  }

  // Several at once add one to a number, each if it is what was read. At most one of them may win, and none that was told so
  // may lose.
  async count(told, atOnce) {
    const path = `/api/v1/sessions/${told.sid}/data`;
    const read = await this.#ask(path, { headers: this.shop });
    if (!this.#is(read, 200, "read of a count", told)) return;
    const n = read.json.n ?? 0;
    if (n < told.counted || n > told.counted + told.mayBeCounted) this.#violated(`the count is ${n}`, told);
    // What came late has come.
    [told.mayBeCounted, told.counted] = [told.counted + told.mayBeCounted - n, n];
    const headers = [...this.shop, "if-match", read.headers.etag];
    const add = () => this.#ask(path, { method: "PATCH", headers, json: { n: n + 1 } });
    const answers = await Promise.all(Array.from({ length: atOnce }, add));
    const won = answers.filter((answer) => answer?.status === 200).length;
    const unknown = answers.filter((answer) => !answer?.status).length;
    const refused = answers.filter((answer) => answer?.status === 412).length;
    if (won > 1) this.#violated(`${won} of ${atOnce} were told that they had version ${read.headers.etag}`, told);
    if (won + unknown + refused !== atOnce) this.#violated(`${answers.map((answer) => answer?.status)} to ${headers.at(-1)}`, told);
    // All of those that were refused were beaten by something: by one of these, or by what came late.
    if (refused > 0 && won + unknown === 0 && !told.isUnsure) this.#violated(`nobody had version ${read.headers.etag}`, told);
    for (let winner = 0; winner < won; winner++) this.#is({ status: 200 }, 200, "count", told);
    told.counted += won;
    // At most one of those without an answer was in time, or will be.
    if (won === 0 && unknown > 0) [told.mayBeCounted, told.isUnsure] = [told.mayBeCounted + 1, true];
  }

  // Several at once, each with a key of its own: none may take another's away, now or when it comes late.
  async write(told, atOnce) {
    const one = async () => {
      const key = `k${(told.asked += 1)}`;
      const patch = { method: "PATCH", headers: this.shop, json: { [key]: told.asked } };
      const answer = await this.#ask(`/api/v1/sessions/${told.sid}/data`, patch);
      if (this.#is(answer, 200, "write", told)) told.written.push(key);
      else told.isUnsure = true;
    };
    await Promise.all(Array.from({ length: atOnce }, one));
  }

  // Several at once get the same token. Whoever was not answered asks again with the old one.
  async refresh(told, atOnce) {
    if (!told.refresh) return;
    const json = { refresh_token: told.refresh };
    const answers = await Promise.all(Array.from({ length: atOnce }, () => this.#ask("/api/v1/refresh", { json })));
    const all = answers.filter((answer) => this.#is(answer, 200, "refresh", told)).map(({ json }) => json);
    if (all.length === 0) {
      told.mayBeAhead = true;
      return;
    }
    const tokens = new Set(all.map((json) => json.refresh_token));
    if (tokens.size !== 1) this.#violated(`one refresh gave ${tokens.size} tokens`, told);
    [told.refresh, told.mayBeAhead] = [all[0].refresh_token, false];
    told.headers = ["authorization", `Bearer ${all[0].access_token}`];
    told.refreshed += 1;
  }

  async end(told, isConfirmed) {
    told.end = "asked";
    const path = `/api/v1/logout${isConfirmed ? "?confirm=20s" : ""}`;
    const answer = await this.#ask(path, { method: "POST", headers: told.headers });
    if (!isConfirmed) {
      if (this.#is(answer, 204, "end", told)) told.end = "ended";
    } else if (this.#is(answer, 200, "confirmed end", told)) {
      told.end = "ended";
      if (answer.json.confirmed !== true) this.#violated(`200 without being confirmed: ${answer.text}`, told);
      await this.refusedEverywhere(told);
    }
  }

  // Of a session whose end was confirmed: every server is asked directly, and may say anything but yes.
  async refusedEverywhere(told) {
    const asks = NODES.flatMap((node) => [
      this.#ask("/api/v1/session", { node, headers: told.headers }),
      ...(told.refresh ? [this.#ask("/api/v1/refresh", { node, json: { refresh_token: told.refresh } })] : []),
    ]);
    asks.push(...this.#guarding(told).map((follower) => this.#asks(follower, told)));
    for (const answer of await Promise.all(asks)) {
      if (answer && ![400, 401].includes(answer.status)) this.#violated(`accepted after its end: ${answer.status}`, told);
    }
  }

  // A follower may refuse in its own words.
  async #asks(follower, told) {
    const { status } = await this.world.askFollower(follower, told.headers);
    return status === 200 ? { status: `200 by ${follower.name}` } : undefined;
  }

  // Says later whether what begins now may fail: something is broken, or was.
  #failing(node) {
    const changes = this.#changes;
    const isAway = () => node !== undefined && node === this.#away;
    const wasAway = isAway();
    return () => wasAway || isAway() || this.#isBroken || this.#changes !== changes;
  }

  // Gives the answer; nothing if there was none and something is broken.
  async #ask(path, options) {
    const [mayFail, asking] = [this.#failing(options.node), new AbortController()];
    if (options.node === undefined) this.#asking.set(asking, Date.now());
    const answer = await this.world.ask(path, { ...options, signal: asking.signal });
    this.#asking.delete(asking);
    this.counts[answer.status] = (this.counts[answer.status] ?? 0) + 1;
    if (!UNANSWERED.includes(answer.status)) return answer;
    if (!mayFail()) this.#violated(`${path}: ${answer.status} ${answer.text}`, options);
    // A proxy that finds no server says 503, too.
    const isOurs = answer.status === 503 && answer.headers["content-type"] === "application/problem+json";
    if (isOurs && !answer.headers["retry-after"]) this.#violated(`${path}: 503 without Retry-After`, options);
    await wait(10);
    return asking.signal.aborted ? { isAbandoned: true } : undefined;
  }

  #is(answer, status, act, told) {
    if (!answer || answer.isAbandoned) return false;
    if (answer.status === status) {
      this.counts.acts = this.acknowledged + 1;
      this.counts[act] = (this.counts[act] ?? 0) + 1;
      return true;
    }
    // An end that takes longer than it may be waited for has taken place, and is not confirmed.
    if (!(answer.status === 202 && this.#isBroken)) this.#violated(`${act}: ${answer.status} ${answer.text}`, told);
    return false;
  }

  #violated(what, { headers, json, user, refresh, ...told } = {}) {
    this.violations.push(`${what} ${JSON.stringify(told)}`);
  }

  // What is said in the end: while there is much to do, a server may say that it cannot now.
  async #answer(path, options) {
    let answer;
    const isAnswered = async () => !UNANSWERED.includes((answer = await this.world.ask(path, options)).status);
    await until(isAnswered, `an answer to ${path}`);
    return answer;
  }

  // Compares what was told of every session with what each server says of it.
  async check() {
    const generations = new Map();
    const live = this.sessions.filter(({ end, refresh }) => !end && refresh);
    for (const told of new Map(live.map((told) => [told.user, told])).values()) {
      const { json } = await this.#answer("/api/v1/sessions", told);
      for (const { sid, families } of json.sessions ?? json) generations.set(sid, families[0]?.generation);
    }
    for (let first = 0; first < this.sessions.length; first += 8) {
      await Promise.all(this.sessions.slice(first, first + 8).map((told) => this.#compare(told, generations.get(told.sid))));
    }
  }

  async #compare(told, generation) {
    const at = async (node) => {
      const session = await this.#answer("/api/v1/session", { node, headers: told.headers });
      const data = await this.#answer(`/api/v1/sessions/${told.sid}/data`, { node, headers: this.shop });
      return { statuses: [session.status, data.status].join(), data: data.json };
    };
    const found = await Promise.all(NODES.map(at));
    const statuses = new Set(found.map(({ statuses }) => statuses));
    const right = { undefined: ["200,200"], ended: ["401,404"], asked: ["200,200", "401,404"] }[told.end];
    if (statuses.size !== 1) this.#violated(`servers say different things: ${[...statuses]}`, told);
    if (!right.includes(found[0].statuses)) this.#violated(`found ${[...statuses]}, and not ${right}`, told);
    if (found[0].statuses === "200,200") {
      const lost = told.written.filter((key) => found.some(({ data }) => !(key in data)));
      const counts = found.map(({ data }) => data.n ?? 0);
      const isRight = counts.every((n) => n >= told.counted && n <= told.counted + told.mayBeCounted);
      if (!isRight) this.#violated(`the counts are ${counts}`, told);
      if (lost.length > 0) this.#violated(`acknowledged writes are lost: ${lost}`, told);
    }
    if (told.refresh) await this.#compareRefresh(told, found[0].statuses === "200,200", generation);
  }

  async #compareRefresh(told, lives, generation) {
    const least = 1 + told.refreshed;
    const right = told.mayBeAhead ? [least, least + 1] : [least];
    if (!told.end && !right.includes(generation)) this.#violated(`generation ${generation}, and not ${right}`, told);
    const answer = await this.#answer("/api/v1/refresh", { json: { refresh_token: told.refresh } });
    if (answer.status !== (lives ? 200 : 400)) this.#violated(`refresh: ${answer.status} ${answer.text}`, told);
  }
}
