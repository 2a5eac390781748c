// An application in the browser with oidc-client-ts: a public client.

const { UserManager } = window.oidc;

const { ISSUER, CLIENT_ID, API } = await (await fetch("/settings.json")).json();
const manager = new UserManager({
  authority: ISSUER,
  client_id: CLIENT_ID,
  redirect_uri: `${location.origin}/callback`,
  post_logout_redirect_uri: `${location.origin}/left`,
  scope: "openid profile",
  loadUserInfo: true,
  // When to refresh is what the test chooses.
  automaticSilentRenew: false,
});

// Shows what an act gives, and counts the acts, so that an answer can be told from the one before.
let acts = 0;
async function show(act) {
  const said = await act().catch((error) => ({ error: String(error) }));
  document.getElementById("said").textContent = JSON.stringify({ act: (acts += 1), ...said });
}

const ACTS = {
  login: () => manager.signinRedirect(),
  logout: () => manager.signoutRedirect(),
  async call() {
    const { access_token } = await manager.getUser();
    const answer = await fetch(API, { headers: { authorization: `Bearer ${access_token}` } });
    return { status: answer.status, claims: await answer.json() };
  },
  async refresh() {
    try {
      return { who: (await manager.signinSilent()).profile };
    } catch (error) {
      await manager.removeUser();
      throw error;
    }
  },
};

await show(async () => {
  if (location.pathname === "/callback") {
    await manager.signinCallback();
    history.replaceState(null, "", "/");
  }
  return { who: (await manager.getUser())?.profile };
});
for (const [id, act] of Object.entries(ACTS)) document.getElementById(id).onclick = () => show(act);
