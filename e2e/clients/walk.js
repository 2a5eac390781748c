// The walk through an application that is a server.

import assert from "node:assert/strict";
import { Browser } from "./browser.js";
import { AUDIENCE, until } from "./world.js";

// Where the browser came to, for the report: of our own pages the main part.
const said = ({ way, status, text }) => `${way.join("\n")}\n${status} ${text.match(/<main[^]*<\/main>/) ?? text}`;

export class Walk {
  #browser = new Browser();

  static start(world, name, client, { api, program, channel }) {
    return Object.assign(new Walk(), { world, name, client, api, program, channel, url: program.url });
  }

  log() {
    return `${this.program.log}\n--- its API said:\n${this.api.log}`;
  }

  async "logs in"() {
    const inside = await this.#logIn();
    const who = this.#who(inside);
    assert.equal(who.sub, this.world.user.sub);
    // What userinfo says of the scope `profile`.
    if (!this.client.upstream) assert.equal(who.preferred_username, this.world.user.username);
    this.sid = who.sid;
    const again = await this.#browser.goto(`${this.url}/`);
    assert.deepEqual(again.way.length, 1, `it remembers: ${again.way}`);
  }

  async "calls an API"() {
    const { sub, iss, aud, client_id, sid } = await this.#callApi();
    assert.deepEqual([iss, client_id], [this.world.issuer, this.name]);
    assert.ok(aud.includes(AUDIENCE), aud);
    assert.equal(sub, this.world.user.sub);
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
    const page = await this.#leave();
    assert.equal(page.url.split("?")[0], this.url + this.client.left, said(page));
    await this.#asksForLogin("/");
    const account = await this.#browser.goto(`${this.world.issuer}/account`);
    assert.ok(account.text.includes('id="login-form"'), "the login at the server is over, too");
  }

  async "is told of the end"() {
    this.#browser = new Browser();
    await this.#logIn();
    this.channel.isOpen = true;
    await this.#leaveServer();
    await this.#asksForLogin("/");
    assert.ok(this.channel.answers.includes(200), this.channel.answers);
  }

  // What the client says of who is logged in.
  #who(page) {
    assert.equal(page.status, 200, said(page));
    return (this.client.who ?? (({ text }) => JSON.parse(text)))(page);
  }

  async #logIn() {
    let page = await this.#browser.goto(`${this.url}/`);
    assert.ok(page.url.startsWith(`${this.world.issuer}/login`), said(page));
    const { username, password } = this.world.user;
    page = await this.#browser.submit(page, { username, password }, "login-form");
    // Who is not ours is allowed once, by the user.
    assert.equal(page.text.includes('id="consent-form"'), this.client.consent === true, said(page));
    if (this.client.consent) page = await this.#browser.submit(page, { decision: "allow" }, "consent-form");
    this.client.consent = false;
    // A form post: a page with a form that goes on by itself, or by a click.
    if (this.client.formPost) page = await this.#browser.submit(page);
    assert.equal(page.url.split("?")[0], `${this.url}/`, said(page));
    return page;
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

  // Spring asks with a form of its own; the server asks nobody.
  async #leave() {
    const page = await this.#browser.goto(this.url + this.client.logout(this));
    return this.client.asks?.test(page.text) ? this.#browser.submit(page) : page;
  }

  async #leaveServer() {
    const page = await this.#browser.goto(`${this.world.issuer}/logout`);
    await this.#browser.submit(page, {}, "logout-form");
  }

  // At once, or as soon as it has heard of the end.
  async #asksForLogin(path) {
    let page;
    const asks = async () => (page = await this.#browser.goto(this.url + path)).url.startsWith(`${this.world.issuer}/login`);
    await until(asks, () => `that it asks for a login again:\n${said(page)}`);
  }
}
