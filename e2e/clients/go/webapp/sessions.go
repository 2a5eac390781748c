package main

import (
	"crypto/rand"
	"net/http"

	"golang.org/x/oauth2"
)

// What the application keeps of a browser: of its way to the login, and then of the login.
type session struct {
	State, Nonce, Verifier string
	Token                  *oauth2.Token
	IDToken                string
	Claims                 map[string]any
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
