package engine

import (
	"context"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// apiVersion is a version of the engine's HTTP API, such as 1.41.
type apiVersion struct{ major, minor int }

var (
	newest = apiVersion{1, 41} // what this package is written for
	oldest = apiVersion{1, 38} // what it still understands
)

// dialect is what the engine speaks and the path prefix that follows from it.
type dialect struct {
	version doc.Version
	prefix  string
}

// Negotiate asks the engine for its version once and settles the API version of all other calls,
// which do the same when needed (docs/spec/engine.md 1.1). The answer is remembered until a call finds
// the engine gone or gets cut, so that an engine upgraded meanwhile is asked anew.
func (c *Client) Negotiate(ctx context.Context) (doc.Version, error) {
	d, err := c.dialect(ctx)
	if err != nil {
		return doc.Version{}, err
	}
	return d.version, nil
}

func (c *Client) dialect(ctx context.Context) (*dialect, error) {
	if d := c.spoken.Load(); d != nil {
		return d, nil
	}
	r := get("read engine version", "/version", nil)
	a, err := c.exchange(ctx, r, "")
	if err != nil {
		return nil, err
	}
	d := &dialect{}
	if err := c.decode(ctx, r, a, &d.version); err != nil {
		return nil, err
	}
	v, reason := choose(d.version.ApiVersion, d.version.MinAPIVersion)
	if reason != "" {
		return nil, r.fail(fasthttp.StatusBadRequest, reason)
	}
	d.prefix = "/v" + v.String()
	c.spoken.Store(d)
	return d, nil
}

// choose picks the API version to use with an engine that offers those from least to most: the
// newest known to both. An engine that has given up even that one gets its own oldest. The reason
// says why there is none.
func choose(most, least string) (v apiVersion, reason string) {
	top, ok := parseVersion(most)
	if !ok {
		return v, "unreadable API version " + strconv.Quote(most)
	}
	if top.less(oldest) {
		return v, "engine API " + most + " is older than " + oldest.String()
	}
	v = newest
	if top.less(v) {
		v = top
	}
	if bottom, ok := parseVersion(least); ok && v.less(bottom) && !top.less(bottom) {
		v = bottom
	}
	return v, ""
}

func parseVersion(s string) (v apiVersion, ok bool) {
	major, minor, ok := strings.Cut(s, ".")
	if !ok {
		return v, false
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(minor, 10, 16)
	return apiVersion{int(a), int(b)}, errA == nil && errB == nil
}

func (v apiVersion) less(w apiVersion) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v apiVersion) String() string {
	return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minor)
}

// Info reads what the engine tells about itself and its host.
func (c *Client) Info(ctx context.Context) (v doc.Info, err error) {
	err = c.do(ctx, get("read engine info", "/info", nil), &v)
	return v, err
}
