package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/delta"
	"resin-supervisor/update/target"
)

const (
	// tokenLife is how long a registry token is reused.
	tokenLife = 10 * time.Minute
	// defaultTimeout is the timeout of a call unless the configuration has another one.
	defaultTimeout = 59 * time.Second
)

// Deltas asks a delta server for deltas between images. It is safe for concurrent use.
type Deltas struct {
	// API is the cloud API, which issues registry tokens. Server is the delta server.
	API, Server *Client
	// Login returns the name and secret for requesting registry tokens.
	Login func() (name, secret string)

	mu     sync.Mutex
	tokens map[string]token // by the query that requested it
}

type token struct {
	text string
	at   time.Time
}

// Request asks for the delta from image src to image dst. It returns the name of the delta image, from which
// balenaEngine makes dst, and the token to pull it (docs/spec/engine.md 8.5). The error wraps delta.ErrNone or
// delta.ErrProcessing; after any other error a retry may help.
func (d *Deltas) Request(ctx context.Context, src, dst string, timeout time.Duration) (image, registryToken string, err error) {
	image, registryToken, err = d.request(ctx, src, dst, timeout)
	if err != nil {
		err = fmt.Errorf("request delta from %s to %s: %w", src, dst, err)
	}
	return image, registryToken, err
}

func (d *Deltas) request(ctx context.Context, src, dst string, timeout time.Duration) (image, registryToken string, err error) {
	scope, err := tokenScope(src, dst)
	if err != nil {
		return "", "", err
	}
	if registryToken, err = d.token(ctx, scope); err != nil {
		return "", "", err
	}
	query := url.Values{"src": {src}, "dest": {dst}}
	a, err := d.Server.do(ctx, call{path: "/api/v3/delta", query: query, auth: "Bearer " + registryToken, timeout: timeout})
	if err != nil {
		return "", "", err
	}
	if a.status == fasthttp.StatusUnauthorized {
		d.forget(scope.Encode()) // the token may have expired early
	}
	image, err = deltaImage(a.status, a.body)
	return image, registryToken, err
}

// deltaImage reads the name of the delta image from the answer of the delta server.
func deltaImage(status int, body []byte) (string, error) {
	switch {
	case status == fasthttp.StatusBadGateway, status == fasthttp.StatusGatewayTimeout:
		return "", delta.ErrProcessing
	case status >= 400 && status < 500 && status != fasthttp.StatusUnauthorized:
		return "", delta.ErrNone
	case status != fasthttp.StatusOK:
		return "", fmt.Errorf("the delta server answered %d", status)
	}
	var answer struct{ Name string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("answer of the delta server: %w", err)
	}
	if answer.Name == "" {
		return "", errors.New("answer of the delta server: no name")
	}
	return answer.Name, nil
}

// tokenScope builds the query for a token that may pull from both repositories.
func tokenScope(src, dst string) (url.Values, error) {
	from, err := target.ParseReference(src)
	if err != nil {
		return nil, err
	}
	to, err := target.ParseReference(dst)
	if err != nil {
		return nil, err
	}
	return url.Values{
		"service": {to.Registry},
		"scope":   {"repository:" + to.Repo + ":pull", "repository:" + from.Repo + ":pull"},
	}, nil
}

// token returns a registry token, and requests a new one if the last one is too old.
func (d *Deltas) token(ctx context.Context, scope url.Values) (string, error) {
	if text := d.freshToken(scope.Encode(), time.Now()); text != "" {
		return text, nil
	}
	name, secret := d.Login()
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+secret))
	a, err := d.API.do(ctx, call{path: "/auth/v1/token", query: scope, auth: login, timeout: defaultTimeout})
	if err != nil {
		return "", err
	}
	text, err := registryToken(a.status, a.body)
	if err == nil {
		d.remember(scope.Encode(), token{text, time.Now()})
	}
	return text, err
}

// registryToken reads the cloud's answer to the request for a token.
func registryToken(status int, body []byte) (string, error) {
	var answer struct{ Token string }
	if status != fasthttp.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Token == "" {
		return "", fmt.Errorf("the cloud gave no registry token (it answered %d)", status)
	}
	return answer.Token, nil
}

func (d *Deltas) freshToken(scope string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tokens[scope]; now.Sub(t.at) < tokenLife {
		return t.text
	}
	return ""
}

func (d *Deltas) forget(scope string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tokens, scope)
}

// remember stores a token and drops expired ones.
func (d *Deltas) remember(scope string, fresh token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for old, t := range d.tokens {
		if fresh.at.Sub(t.at) >= tokenLife {
			delete(d.tokens, old)
		}
	}
	if d.tokens == nil {
		d.tokens = make(map[string]token)
	}
	d.tokens[scope] = fresh
}
