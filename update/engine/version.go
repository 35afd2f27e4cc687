package engine

import (
	"context"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// number is the number of a version of the engine's HTTP API, such as 1.41.
type number struct{ major, minor int }

var (
	newest = number{1, 41} // this package is written for it
	oldest = number{1, 38} // this package still supports it
)

// apiVersion is the version of the API that calls use.
type apiVersion struct {
	engine doc.Version
	prefix string // of all paths
}

// Negotiate reads the engine's version and chooses the API version of all calls (docs/spec/engine.md 1.1). Every call does
// this if it has not been done. The result is kept until a call gets no complete answer: then the engine may have been
// upgraded.
func (c *Client) Negotiate(ctx context.Context) (doc.Version, error) {
	v, err := c.apiVersion(ctx)
	if err != nil {
		return doc.Version{}, err
	}
	return v.engine, nil
}

func (c *Client) apiVersion(ctx context.Context) (*apiVersion, error) {
	if v := c.version.Load(); v != nil {
		return v, nil
	}
	r := get("read engine version", "/version", nil)
	a, err := c.exchange(ctx, r, "")
	if err != nil {
		return nil, err
	}
	v := &apiVersion{}
	if err := c.decode(ctx, r, a, &v.engine); err != nil {
		return nil, err
	}
	n, reason := choose(v.engine.ApiVersion, v.engine.MinAPIVersion)
	if reason != "" {
		return nil, r.fail(fasthttp.StatusBadRequest, reason)
	}
	v.prefix = "/v" + n.String()
	c.version.Store(v)
	return v, nil
}

// choose returns the API version to use with an engine that supports the versions from least to most. It is the newest one
// that this package and the engine know. If the engine no longer supports that one, it is the engine's oldest. The reason
// says why there is none.
func choose(most, least string) (v number, reason string) {
	top, ok := parseNumber(most)
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
	if bottom, ok := parseNumber(least); ok && v.less(bottom) && !top.less(bottom) {
		v = bottom
	}
	return v, ""
}

func parseNumber(s string) (v number, ok bool) {
	major, minor, ok := strings.Cut(s, ".")
	if !ok {
		return v, false
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(minor, 10, 16)
	return number{int(a), int(b)}, errA == nil && errB == nil
}

func (v number) less(w number) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v number) String() string {
	return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minor)
}

// Info reads the engine's information about itself and its host.
func (c *Client) Info(ctx context.Context) (v doc.Info, err error) {
	err = c.do(ctx, get("read engine information", "/info", nil), &v)
	return v, err
}
