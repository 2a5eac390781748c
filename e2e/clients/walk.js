// The walk through an application that is a server.

import assert from "node:assert/strict";
import { Browser } from "./browser.js";
import { AUDIENCE, until } from "./world.js";

export class Walk {
  #browser = new Browser();

  static start(world, name, client, { api, program }) {
    return Object.assign(new Walk(), { world, name, client, api, program, url: program.url });
  }

  log() {
    return `${this.program.log}\n--- its API said:\n${this.api.log}`;
  }

  async "logs in"() {
    const inside = await this.#logIn();
    assert.equal(this.#who(inside).sub, this.world.user.sub);
    this.sid = this.#who(inside).sid;
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
    const page = await this.#browser.goto(this.url + this.client.logout(this));
    assert.equal(page.status, 200, page.text);
    await this.#asksForLogin("/");
    const account = await this.#browser.goto(`${this.world.issuer}/account`);
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
    assert.ok(page.url.startsWith(`${this.world.issuer}/login`), `${page.way.join("\n")}\n${page.status} ${page.text}`);
    const { username, password } = this.world.user;
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
    const page = await this.#browser.goto(`${this.world.issuer}/logout`);
    await this.#browser.submit(page, {}, "logout-form");
  }

  // At once, or as soon as it has heard of the end.
  async #asksForLogin(path) {
    let page;
    const asks = async () => (page = await this.#browser.goto(this.url + path)).url.startsWith(`${this.world.issuer}/login`);
    await until(asks, () => `that it asks for a login again:\n${page.way.join("\n")}\n${page.status} ${page.text}`);
  }
}
