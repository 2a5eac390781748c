// The walk through an application that runs in the browser: Chromium presses its buttons.

import assert from "node:assert/strict";
import { launch } from "../examples/chromium.js";
import { AUDIENCE } from "./world.js";

export class PageWalk {
  #log = "";

  static async start(world, name, client, { api, program }) {
    const walk = Object.assign(new PageWalk(), { world, name, api, program, url: program.url });
    walk.browser = await launch();
    walk.page = await (await walk.browser.newContext()).newPage();
    walk.page.setDefaultTimeout(10_000);
    walk.page.on("console", (message) => (walk.#log += `${message.text()}\n`));
    return walk;
  }

  stop() {
    return this.browser.close();
  }

  log() {
    return `${this.page.url()}\n${this.#log}${this.program.log}\n--- its API said:\n${this.api.log}`;
  }

  async "logs in"() {
    await this.#logIn();
    await this.page.reload();
    const { who } = await this.#said();
    assert.equal(who.sub, this.world.user.sub, "it remembers");
    assert.equal(who.preferred_username, this.world.user.username, "what userinfo says of the scope `profile`");
    this.sid = who.sid;
  }

  async "calls an API"() {
    const { sub, aud, client_id, sid } = await this.#callApi();
    assert.deepEqual([sub, client_id, sid], [this.world.user.sub, this.name, this.sid]);
    assert.ok(aud.includes(AUDIENCE), aud);
  }

  async refreshes() {
    const { jti } = await this.#callApi();
    const { who, error } = await this.#press("refresh");
    assert.equal(who?.sid, this.sid, error);
    assert.notEqual((await this.#callApi()).jti, jti);
  }

  async "sees the session end"() {
    const tab = await this.page.context().newPage();
    await tab.goto(`${this.world.issuer}/logout`);
    await Promise.all([tab.waitForNavigation(), tab.click("#logout-submit")]);
    await tab.close();
    const { error } = await this.#press("refresh");
    assert.match(error, /refresh token/);
    await this.page.reload();
    assert.equal((await this.#said()).who, undefined);
  }

  async "logs out"() {
    await this.#logIn();
    await this.page.click("#logout");
    await this.page.waitForURL(`${this.url}/**`);
    assert.equal((await this.#said()).who, undefined);
    await this.page.goto(`${this.world.issuer}/account`);
    assert.ok(await this.page.locator("#login-form").isVisible(), "the login at the server is over, too");
  }

  async #logIn() {
    await this.page.goto(this.url);
    assert.equal((await this.#said()).who, undefined);
    await this.page.click("#login");
    await this.page.fill("#login-form [name=username]", this.world.user.username);
    await this.page.fill("#login-form [name=password]", this.world.user.password);
    await this.page.click("#login-submit");
    if (!this.allowed) await this.page.click("#consent-allow");
    this.allowed = true;
    await this.page.waitForURL(`${this.url}/`);
    const { who, error } = await this.#said();
    assert.equal(who?.sub, this.world.user.sub, error);
  }

  async #callApi() {
    const { status, claims, error } = await this.#press("call");
    assert.equal(status, 200, error);
    return claims;
  }

  // Presses a button, and gives what the page says then.
  async #press(id) {
    const { act } = await this.#said();
    await this.page.click(`#${id}`);
    return this.#said(act);
  }

  // What the page says, once it is another act than `before`.
  async #said(before = 0) {
    const said = await this.page.waitForFunction((before) => {
      const text = document.getElementById("said")?.textContent;
      return text && JSON.parse(text).act > before && text;
    }, before);
    return JSON.parse(await said.jsonValue());
  }
}
