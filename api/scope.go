package api

import (
	"github.com/valyala/fasthttp"
)

// scope says who may call a route (docs/spec/device-api.md 1.8). For a route of one app it also says how the app is
// found, and how to answer when the id is bad or the key does not cover the app.
type scope struct {
	open    bool // it never needs a key
	global  bool // it needs the global key
	changes bool // it changes something, although it is a GET
	app     func(*call) (id int, ok bool)
	badID   func(*call) Answer
	denied  func(id int) Answer
}

// The scopes of the route table.
var (
	// open admits everyone.
	open = scope{open: true}
	// anyKey admits every key, also that of a service.
	anyKey = scope{}
	// changingGet is anyKey for a GET that changes something, so a web page must not trigger it with an image.
	changingGet = scope{changes: true}
	// globalKey admits only the global key.
	globalKey = scope{global: true}

	// The others admit a key that covers the app in the body or in the path.
	restartBody = scope{app: appInBody, badID: badText(textMissingApp), denied: deniedJSON}
	purgeBody   = scope{app: appInBody, badID: badText(textPurgeApp), denied: deniedJSON}
	readPath    = scope{app: appInPath, badID: badText(textMissingApp), denied: deniedRead}
	singlePath  = scope{app: appInPath, badID: badText(textInvalidApp), denied: deniedText}
	appPath     = scope{app: nonZeroInPath, badID: badJSON(textMissingApp), denied: deniedJSON}
	servicePath = scope{app: nonZeroInPath, badID: badJSON(textInvalidApp), denied: deniedJSON}
	statePath   = scope{app: nonZeroInPath, badID: badStatePath, denied: deniedState}
)

func appInBody(c *call) (int, bool) { return intValue(c.body["appId"]) }

func appInPath(c *call) (int, bool) { return intText(c.param) }

func nonZeroInPath(c *call) (int, bool) {
	id, ok := intText(c.param)
	return id, ok && id != 0
}

func badText(message string) func(*call) Answer {
	return func(*call) Answer { return textAnswer(fasthttp.StatusBadRequest, message) }
}

func badJSON(message string) func(*call) Answer {
	return func(*call) Answer { return fail(fasthttp.StatusBadRequest, message) }
}

func badStatePath(c *call) Answer {
	return fail(fasthttp.StatusBadRequest, textInvalidAppPath(c.param))
}

func deniedText(int) Answer { return textAnswer(fasthttp.StatusUnauthorized, textUnauthorized) }

func deniedJSON(int) Answer { return fail(fasthttp.StatusUnauthorized, textUnauthorized) }

func deniedRead(int) Answer { return fail(fasthttp.StatusUnauthorized, textAppUnavailable) }

func deniedState(id int) Answer { return fail(fasthttp.StatusConflict, textNoSuchApp(id)) }

// admit checks the caller against the scope, and stores the app of the request in c.
func (s scope) admit(c *call) (Answer, bool) {
	if s.global && !c.caller.all {
		return deniedJSON(0), false
	}
	if s.app == nil {
		return Answer{}, true
	}
	id, ok := s.app(c)
	if !ok {
		return s.badID(c), false
	}
	if !c.caller.covers(id) {
		return s.denied(id), false
	}
	c.appID = id
	return Answer{}, true
}

// caller is who makes a request.
type caller struct {
	key   string // the valid key of the request, empty when it has none
	appID int    // the app of a service's key
	all   bool   // all apps are in scope
}

func (c caller) covers(appID int) bool { return c.all || c.appID == appID }

// authenticate stores in c who makes a request for r, which is nil for a request of no route. Without a key the request
// may come from a foreign page, so it is checked for that when the device needs no key.
func (h *handlers) authenticate(c *call, r *route) (Answer, bool) {
	c.caller = h.identify(c.ctx)
	keyless := h.keyless()
	c.caller.all = c.caller.all || keyless
	if c.caller.key != "" {
		return Answer{}, true
	}
	if !keyless {
		return deniedText(0), false
	}
	changes := r != nil && (r.scope.changes || r.method != fasthttp.MethodGet)
	if reason := h.foreignPage(c.ctx, changes); reason != "" {
		return fail(fasthttp.StatusForbidden, reason), false
	}
	return Answer{}, true
}

// identify looks up the keys of a request. The first valid one counts.
func (h *handlers) identify(ctx *fasthttp.RequestCtx) caller {
	query, header := keysOf(ctx)
	for _, key := range []string{query, header} {
		if key == "" {
			continue
		}
		if id, global, ok := h.keys.Lookup(key); ok {
			return caller{key: key, appID: id, all: global}
		}
	}
	return caller{}
}

// keyless tells whether the device serves callers without a key. A managed device does in local mode, an unmanaged one
// in development mode.
func (h *handlers) keyless() bool {
	facts := h.dev.Facts()
	if !facts.Managed {
		return facts.DevelopmentMode
	}
	return h.apps.View().LocalMode
}
