package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Ask makes a request to the fixture app inside a container and answers status and body.
func Ask(c Container, method, path, body string) (int, string, error) {
	if c.IP() == "" {
		return 0, "", errors.New("the container has no address")
	}
	req, err := http.NewRequest(method, "http://"+c.IP()+":8080"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), err
}

// MustAsk is Ask that has to be answered with 200; a container that is just starting gets time.
func MustAsk(t testing.TB, c Container, method, path, body string) string {
	t.Helper()
	var answer string
	Until(t, 10*time.Second, "answer of "+c.Name+" to "+path, func() error {
		status, text, err := Ask(c, method, path, body)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, text)
		}
		answer = text
		return err
	})
	return answer
}

// VersionOf is the version of the image that a container of the fixture app runs.
func VersionOf(t testing.TB, c Container) string {
	t.Helper()
	return MustAsk(t, c, http.MethodGet, "/version", "")
}

// WantVersion fails the test unless a container of the fixture app runs this version.
func WantVersion(t testing.TB, c Container, version string) {
	t.Helper()
	if got := VersionOf(t, c); got != version {
		t.Errorf("%s serves %q, want %q", c.Name, got, version)
	}
}

// Print has a service of the fixture app print lines.
func (s *Supervisor) Print(service, query string) {
	s.t.Helper()
	MustAsk(s.t, s.Containers()[service], http.MethodPost, "/print?"+query, "")
}

// FetchFrom makes a container request a URL and answers the status and body it got.
func FetchFrom(t testing.TB, c Container, method, target string) (int, string) {
	t.Helper()
	var status int
	var body string
	Until(t, 10*time.Second, "fetch from inside "+c.Name, func() (err error) {
		status, body, err = Ask(c, http.MethodGet, "/fetch?method="+method+"&url="+url.QueryEscape(target), "")
		return err
	})
	return status, body
}
