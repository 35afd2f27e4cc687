package engine

import (
	"cmp"
	"context"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// Pull fetches and unpacks the image repo:tag, or repo@tag when tag is a digest such as sha256:... (docs/spec/engine.md 1.3).
// auth, if not nil, has the credentials for the registry. The end of ctx makes the engine stop the download.
//
// progress, if not nil, is called with 0 when the engine has accepted the call, then with each new percentage, and with 100
// before Pull returns success.
func (c *Client) Pull(ctx context.Context, repo, tag string, auth *doc.AuthConfig, progress func(percent int)) error {
	r := post("pull", "/images/create", query("fromImage", repo, "tag", tag), nil).about(imageName(repo, tag)).within(0)
	r.auth = auth
	if repo == "" || tag == "" { // without a tag the engine would fetch the whole repository
		return r.fail(fasthttp.StatusBadRequest, "repository or tag is empty")
	}
	a, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer a.close()
	err = followPull(a.body, r, progress)
	if err != nil && status(err) < 0 {
		return c.transportError(ctx, r, err)
	}
	return err
}

// followPull reads the messages of a pull to the end. An error message becomes an *Error of r.
func followPull(body io.Reader, r request, report func(percent int)) error {
	var p progress
	if report == nil {
		report = func(int) {}
	}
	report(0)
	lastReported := 0
	err := eachObject(body, func(m *doc.PullMessage) error {
		if reason := cmp.Or(m.ErrorDetail.Message, m.Error); reason != "" {
			e := r.fail(cmp.Or(m.ErrorDetail.Code, fasthttp.StatusInternalServerError), reason)
			e.Streamed = true
			return e
		}
		if p.add(m); p.percent != lastReported {
			lastReported = p.percent
			report(lastReported)
		}
		return nil
	})
	if err == nil && lastReported != 100 {
		report(100)
	}
	return err
}

func imageName(repo, tag string) string {
	if strings.Contains(tag, ":") {
		return repo + "@" + tag
	}
	return repo + ":" + tag
}
