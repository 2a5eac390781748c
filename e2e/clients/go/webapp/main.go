// A web application with golang.org/x/oauth2 and coreos/go-oidc.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// What the application keeps of a browser: of its way to the login, and then of the login.
type session struct {
	State, Nonce, Verifier string
	Token                  *oauth2.Token
	IDToken                string
	Claims                 map[string]any
}

type app struct {
	config   oauth2.Config
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	mutex    sync.Mutex
	sessions map[string]*session
}

var here = "http://localhost:" + os.Getenv("PORT")

func main() {
	provider, err := oidc.NewProvider(context.Background(), os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	a := app{
		config: oauth2.Config{
			ClientID:     os.Getenv("CLIENT_ID"),
			ClientSecret: os.Getenv("CLIENT_SECRET"),
			Endpoint:     provider.Endpoint(),
			RedirectURL:  here + "/callback",
			Scopes:       []string{oidc.ScopeOpenID, "profile"},
		},
		provider: provider,
		verifier: provider.Verifier(&oidc.Config{ClientID: os.Getenv("CLIENT_ID")}),
		sessions: map[string]*session{},
	}
	for path, handler := range map[string]func(http.ResponseWriter, *http.Request, *session) error{
		"GET /{$}": a.home, "GET /callback": a.callback, "GET /api": a.call, "GET /refresh": a.refresh,
		"GET /logout": a.logout, "POST /backchannel": a.backchannel,
	} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			a.mutex.Lock()
			defer a.mutex.Unlock()
			if err := handler(w, r, a.of(r)); err != nil {
				log.Print(err)
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func (a *app) of(r *http.Request) *session {
	if cookie, err := r.Cookie("session"); err == nil && a.sessions[cookie.Value] != nil {
		return a.sessions[cookie.Value]
	}
	return &session{}
}

func (a *app) keep(w http.ResponseWriter, s *session) {
	id := rand.Text()
	a.sessions[id] = s
	http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func (a *app) end(is func(*session) bool) {
	for id, s := range a.sessions {
		if is(s) {
			delete(a.sessions, id)
		}
	}
}

func (a *app) home(w http.ResponseWriter, r *http.Request, s *session) error {
	if s.Claims != nil {
		return json.NewEncoder(w).Encode(s.Claims)
	}
	s = &session{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	a.keep(w, s)
	to := a.config.AuthCodeURL(s.State, oidc.Nonce(s.Nonce), oauth2.S256ChallengeOption(s.Verifier))
	http.Redirect(w, r, to, http.StatusFound)
	return nil
}

func (a *app) callback(w http.ResponseWriter, r *http.Request, s *session) error {
	if s.State == "" || r.FormValue("state") != s.State {
		http.Error(w, "another state", http.StatusBadRequest)
		return nil
	}
	token, err := a.config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(s.Verifier))
	if err != nil {
		return err
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := a.verifier.Verify(r.Context(), raw)
	if err != nil {
		return err
	}
	if idToken.Nonce != s.Nonce {
		http.Error(w, "another nonce", http.StatusBadRequest)
		return nil
	}
	if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
		return err
	}
	in := session{Token: token, IDToken: raw}
	if err := idToken.Claims(&in.Claims); err != nil {
		return err
	}
	if a.provider.UserInfoEndpoint() != "" {
		info, err := a.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(token))
		if err != nil {
			return err
		}
		if err := info.Claims(&in.Claims); err != nil {
			return err
		}
	}
	a.end(func(it *session) bool { return it == s })
	a.keep(w, &in)
	http.Redirect(w, r, "/", http.StatusFound)
	return nil
}

func (a *app) call(w http.ResponseWriter, r *http.Request, s *session) error {
	source := oauth2.ReuseTokenSource(s.Token, a.config.TokenSource(r.Context(), s.Token))
	answer, err := oauth2.NewClient(r.Context(), source).Get(os.Getenv("API"))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	s.Token, _ = source.Token()
	w.WriteHeader(answer.StatusCode)
	_, err = io.Copy(w, answer.Body)
	return err
}

// The library refreshes a token that is over before it uses it.
func (a *app) refresh(w http.ResponseWriter, r *http.Request, s *session) error {
	s.Token.Expiry = time.Now().Add(-time.Second)
	if err := a.call(w, r, s); err != nil {
		a.end(func(it *session) bool { return it == s })
		return err
	}
	return nil
}

func (a *app) logout(w http.ResponseWriter, r *http.Request, s *session) error {
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := a.provider.Claims(&metadata); err != nil {
		return err
	}
	a.end(func(it *session) bool { return it == s })
	query := url.Values{"id_token_hint": {s.IDToken}, "post_logout_redirect_uri": {here + "/"}}
	http.Redirect(w, r, metadata.EndSession+"?"+query.Encode(), http.StatusFound)
	return nil
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
