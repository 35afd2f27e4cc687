package harness

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// PullRequest is a pull as a client asked for it.
type PullRequest struct {
	Query   url.Values
	HasAuth bool
	Auth    struct{ Username, Password, ServerAddress, RegistryToken string }
}

// Pulls are the pulls that were asked for so far.
func (p *Proxy) Pulls() []PullRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]PullRequest(nil), p.pulls...)
}

func (p *Proxy) recordPull(r *http.Request) {
	if CallName(r.Method, r.URL.Path) != "POST /images/create" {
		return
	}
	h := PullRequest{Query: r.URL.Query()}
	if header := r.Header.Get("X-Registry-Auth"); header != "" {
		h.HasAuth = true
		if text, err := base64.URLEncoding.DecodeString(header); err == nil {
			json.Unmarshal(text, &h.Auth)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pulls = append(p.pulls, h)
}

// Rewrite changes the engine's answers of status 200 to calls of that name. It is not for streams.
func (p *Proxy) Rewrite(call string, change func(body []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes[call] = change
}

// rewrite changes an answer on its way to the client.
func (p *Proxy) rewrite(res *http.Response) error {
	p.mu.Lock()
	change := p.changes[CallName(res.Request.Method, res.Request.URL.Path)]
	p.mu.Unlock()
	if change == nil || res.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body.Close()
	body = change(body)
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
