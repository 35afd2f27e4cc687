package api

import "github.com/valyala/fasthttp"

// scope says who may call a route and, where the route addresses an app, how the app is found and
// what is answered when its id is bad or the key does not cover it (docs/spec/device-api.md 1.8).
type scope struct {
	open    bool // no key, ever
	global  bool // only a key for everything
	changes bool // a GET that changes something all the same
	app     func(*call) (id int, ok bool)
	badID   func(*call) Answer
	denied  func(id int) Answer
}

// The scopes of the table.
var (
	// open passes everyone.
	open = scope{open: true}
	// anyKey passes every key, also that of a service.
	anyKey = scope{}
	// changingGet is anyKey of a GET that an image of a web page must not be able to make.
	changingGet = scope{changes: true}
	// globalKey passes only the key for everything.
	globalKey = scope{global: true}

	// The rest pass a key that covers the app named in the body or in the path.
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
	return func(*call) Answer { return refuse(fasthttp.StatusBadRequest, message) }
}

func badJSON(message string) func(*call) Answer {
	return func(*call) Answer { return fail(fasthttp.StatusBadRequest, message) }
}

func badStatePath(c *call) Answer {
	return fail(fasthttp.StatusBadRequest, textInvalidAppPath(c.param))
}

func deniedText(int) Answer { return refuse(fasthttp.StatusUnauthorized, textUnauthorized) }

func deniedJSON(int) Answer { return fail(fasthttp.StatusUnauthorized, textUnauthorized) }

func deniedRead(int) Answer { return fail(fasthttp.StatusUnauthorized, textAppUnavailable) }

func deniedState(id int) Answer { return fail(fasthttp.StatusConflict, textNoSuchApp(id)) }

// admit checks the caller against the scope and notes the addressed app in c.
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
	key   string // the valid key that came with the request, empty when none did
	appID int    // the app of a service's key
	all   bool   // every app is in scope
}

func (c caller) covers(appID int) bool { return c.all || c.appID == appID }

// authenticate finds out who makes a request for r, which is nil for none of the table, and notes it in c. Where no
// key is asked for, whoever brings none may be a stranger's page.
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
	if reason := h.fromStranger(c.ctx, changes); reason != "" {
		return fail(fasthttp.StatusForbidden, reason), false
	}
	return Answer{}, true
}

// identify looks up the keys of a request; the first valid one counts.
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

// keyless tells whether the device serves callers without a key: a managed device in local mode,
// or an unmanaged one that was made for development.
func (h *handlers) keyless() bool {
	facts := h.known.Facts()
	if !facts.Managed {
		return facts.DevelopmentMode
	}
	return h.apps.View().LocalMode
}
