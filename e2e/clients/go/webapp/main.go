// A web application with golang.org/x/oauth2 and coreos/go-oidc.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

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
		"GET /logout": a.logout, "GET /left": a.left, "POST /backchannel": a.backchannel,
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
	profile, err := a.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(token))
	if err != nil {
		return err
	}
	if err := profile.Claims(&in.Claims); err != nil {
		return err
	}
	a.end(func(it *session) bool { return it == s })
	a.keep(w, &in)
	http.Redirect(w, r, "/", http.StatusFound)
	return nil
}

func (a *app) call(w http.ResponseWriter, r *http.Request, s *session) error {
	if s.Token == nil {
		http.Redirect(w, r, "/", http.StatusFound)
		return nil
	}
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
	if s.Token != nil {
		s.Token.Expiry = time.Now().Add(-time.Second)
	}
	if err := a.call(w, r, s); err != nil {
		a.end(func(it *session) bool { return it == s })
		return err
	}
	return nil
}
