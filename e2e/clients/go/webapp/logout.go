package main

import (
	"io"
	"net/http"
	"net/url"
)

func (a *app) logout(w http.ResponseWriter, r *http.Request, s *session) error {
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := a.provider.Claims(&metadata); err != nil {
		return err
	}
	a.end(func(it *session) bool { return it == s })
	query := url.Values{"id_token_hint": {s.IDToken}, "post_logout_redirect_uri": {here + "/left"}}
	http.Redirect(w, r, metadata.EndSession+"?"+query.Encode(), http.StatusFound)
	return nil
}

func (a *app) left(w http.ResponseWriter, r *http.Request, _ *session) error {
	_, err := io.WriteString(w, "logged out")
	return err
}

// OpenID Connect Back-Channel Logout 1.0, section 2.6: the library checks a logout token as it does an ID token.
func (a *app) backchannel(w http.ResponseWriter, r *http.Request, _ *session) error {
	token, err := a.verifier.Verify(r.Context(), r.FormValue("logout_token"))
	var claims struct {
		Sid    string         `json:"sid"`
		Events map[string]any `json:"events"`
	}
	if err == nil {
		err = token.Claims(&claims)
	}
	_, isLogout := claims.Events["http://schemas.openid.net/event/backchannel-logout"]
	if err != nil || !isLogout || token.Nonce != "" || claims.Sid == "" && token.Subject == "" {
		http.Error(w, "no logout token", http.StatusBadRequest)
		return err
	}
	a.end(func(it *session) bool {
		return it.Claims != nil && (it.Claims["sid"] == claims.Sid || claims.Sid == "" && it.Claims["sub"] == token.Subject)
	})
	w.Header().Set("cache-control", "no-store")
	return nil
}
