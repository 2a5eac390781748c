// A visitor's way through the real pages: log in, look at the sessions, end them.
// SYMBOLON names the binary, CHROMIUM another browser than Debian's.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startServer } from "./server.js";
import { assertAccessible, visit } from "./visitor.js";

const LOCALES = { en: "en-GB", ko: "ko-KR" };
let server, browser, at, user, admin;

before(async () => {
  server = await startServer(resolve(process.env.SYMBOLON ?? "../target/debug/symbolon"));
  at = (path) => server.url + path;
  [user, admin] = ["user", "admin"].map((name) => server.users.find(({ username }) => username === name));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

// Clicks, and waits for the page that follows.
async function submit(page, button) {
  await Promise.all([page.waitForNavigation(), page.click(button)]);
}

async function logIn(page, { username, password } = user) {
  await page.goto(at("/login"));
  await page.fill("#login-form [name=username]", username);
  await page.fill("#login-form [name=password]", password);
  await submit(page, "#login-submit");
}

async function logOut(page) {
  await page.goto(at("/logout"));
  await submit(page, "#logout-submit");
}

// Whether this browser is logged in, seen by what the account page shows it.
async function isLoggedIn(page) {
  await page.goto(at("/account"));
  const isLogin = await page.locator("#login-form").isVisible();
  assert.notEqual(isLogin, await page.locator("ul.sessions").isVisible(), "either the account or the login");
  return !isLogin;
}

for (const [language, locale] of Object.entries(LOCALES)) {
  test(`log in, see the sessions, log out, in ${language}`, async () => {
    await visit(browser, `walk-${language}`, { locale }, async (page, context) => {
      await page.goto(at("/login"));
      await assertAccessible(page, language);

      await logIn(page, { ...user, password: "not the password" });
      assert.ok(await page.locator("[role=alert]").isVisible());
      assert.equal(await page.inputValue("[name=password]"), "");
      await assertAccessible(page, language);

      await logIn(page);
      assert.ok(await isLoggedIn(page));
      assert.equal(await page.locator("li.session.this").count(), 1);
      await assertAccessible(page, language);

      await page.goto(at("/logout"));
      await assertAccessible(page, language);
      const cookies = await context.cookies();
      assert.ok(cookies.length > 0 && cookies.every(({ httpOnly }) => httpOnly));
      await submit(page, "#logout-submit");
      assert.ok(await page.locator("[role=status]").isVisible());
      await assertAccessible(page, language);
      assert.ok(!(await isLoggedIn(page)));

      await context.addCookies(cookies);
      assert.ok(!(await isLoggedIn(page)), "the cookie of an ended session is dead");
    });
  });
}

test("end another device's session", async () => {
  await visit(browser, "other-device-here", {}, async (here) => {
    await visit(browser, "other-device-there", {}, async (there) => {
      await logIn(here, admin);
      await logIn(there, admin);
      assert.ok(await isLoggedIn(here));
      const others = here.locator("li.session:not(.this) > article > form button");
      assert.equal(await others.count(), 1);
      await Promise.all([here.waitForNavigation(), others.click()]);
      assert.ok(!(await isLoggedIn(there)));
      assert.ok(await isLoggedIn(here));
      await logOut(here);
    });
  });
});

test("without JavaScript", async () => {
  await visit(browser, "no-javascript", { javaScriptEnabled: false }, async (page) => {
    await logIn(page, { ...user, password: "not the password" });
    assert.ok(await page.locator("[role=alert]").isVisible());
    await logIn(page);
    assert.ok(await isLoggedIn(page));
    await logOut(page);
    assert.ok(!(await isLoggedIn(page)));
  });
});

test("with the keyboard alone", async () => {
  await visit(browser, "keyboard", {}, async (page) => {
    // Tab until the element has the focus; a person would give up after twenty.
    const tabTo = async (selector) => {
      const hasFocus = () => page.locator(selector).evaluate((element) => element === document.activeElement);
      for (let presses = 0; !(await hasFocus()); presses += 1) {
        assert.ok(presses < 20, `${selector} cannot be reached`);
        await page.keyboard.press("Tab");
      }
    };
    await page.goto(at("/login"));
    await tabTo("#login-form [name=username]");
    await page.keyboard.type(user.username);
    await tabTo("#login-form [name=password]");
    await page.keyboard.type(user.password);
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    assert.ok(await isLoggedIn(page));

    await page.goto(at("/logout"));
    await tabTo("#logout-submit");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Space")]);
    assert.ok(!(await isLoggedIn(page)));
  });
});

for (const [language, locale] of Object.entries(LOCALES)) {
  test(`a cart comes along, in ${language}`, async () => {
    await visit(browser, `shop-${language}`, { locale }, async (page, context) => {
      await page.goto(server.shop);
      await assertAccessible(page, language);
      await submit(page, "#add-tea-bowl");
      assert.equal(await page.textContent("#cart-count"), "1");
      const before = await page.textContent("#sid");

      await submit(page, "#login-link");
      await page.fill("#login-form [name=username]", user.username);
      await page.fill("#login-form [name=password]", user.password);
      await submit(page, "#login-submit");
      assert.ok(page.url().startsWith(server.shop), "the way leads back to the shop");
      assert.equal(await page.textContent("#cart-count"), "1", "the cart came along");
      assert.notEqual(await page.textContent("#sid"), before, "a login has a new id");
      await assertAccessible(page, language);
      const cookies = await context.cookies();

      await submit(page, "#logout-link");
      await submit(page, "#logout-submit");
      await context.addCookies(cookies);
      await page.goto(server.shop);
      assert.ok(await page.locator("#login-link").isVisible(), "the ended login is dead in the shop, too");
    });
  });
}
