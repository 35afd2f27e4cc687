package engine

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/engine/doc"
)

// request is one call of the engine's API, still without the version.
type request struct {
	op       string // what is done, for errors
	object   string // to what, for errors; "" when the call is about no single object
	method   string
	path     string // below the version, not escaped
	query    url.Values
	auth     *doc.AuthConfig // nil: no X-Registry-Auth header
	body     any             // sent as JSON; nil: no body
	archive  io.Reader       // a tar file to be sent instead of body, nil for none
	patience time.Duration   // bound on the whole call; 0: only the context ends it
	fine     []int           // statuses besides 2xx that are success
}

// get is a call that reads.
func get(op, path string, q url.Values) request {
	return request{op: op, method: fasthttp.MethodGet, path: path, query: q, patience: readPatience}
}

// post is a call that changes something.
func post(op, path string, q url.Values, body any) request {
	return request{op: op, method: fasthttp.MethodPost, path: path, query: q, body: body, patience: changePatience}
}

// remove is a call that deletes something; that it is gone already is success.
func remove(op, path string, q url.Values) request {
	r := post(op, path, q, nil)
	r.method = fasthttp.MethodDelete
	return r.allow(fasthttp.StatusNotFound)
}

// about names the object of a call.
func (r request) about(object string) request {
	r.object = object
	return r
}

// allow names statuses that are success as well.
func (r request) allow(status ...int) request {
	r.fine = status
	return r
}

// within sets the bound on the whole call; 0 leaves it to the context.
func (r request) within(patience time.Duration) request {
	r.patience = patience
	return r
}

// accepts tells whether the status means that the call did what was asked.
func (r request) accepts(status int) bool {
	return status >= 200 && status < 300 || slices.Contains(r.fine, status)
}

// fail is the error of this call.
func (r request) fail(status int, message string) *Error {
	return &Error{Op: r.op, Object: r.object, Status: status, Message: message}
}

// encode writes the call as an HTTP request below the version prefix.
func (r request) encode(prefix string) (*fasthttp.Request, error) {
	if leadsAway(r.path) {
		return nil, r.fail(fasthttp.StatusBadRequest, "name is empty or not usable")
	}
	req := &fasthttp.Request{}
	req.Header.SetMethod(r.method)
	req.Header.SetHost("engine")
	req.Header.SetUserAgent("resin-supervisor")
	req.Header.SetConnectionClose()
	req.SetRequestURI(r.uri(prefix))
	if r.auth != nil {
		text, _ := json.Marshal(r.auth) // strings always marshal
		req.Header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(text))
	}
	if r.archive != nil {
		req.Header.SetContentType("application/x-tar")
		req.SetBodyStream(r.archive, -1)
		return req, nil
	}
	if r.body == nil {
		return req, nil
	}
	text, err := json.Marshal(r.body)
	if err != nil {
		return nil, r.fail(fasthttp.StatusBadRequest, err.Error())
	}
	req.Header.SetContentType("application/json")
	req.SetBodyRaw(text)
	return req, nil
}

// uri is the request line's target. Slash, colon and at sign of image names stay as they are.
func (r request) uri(prefix string) string {
	u := url.URL{Path: prefix + r.path, RawQuery: r.query.Encode()}
	return u.RequestURI()
}

// leadsAway tells whether the path has a segment that the engine would take out of it: a call on
// one object whose name is missing would become a call on all of them.
func leadsAway(path string) bool {
	for s := range strings.SplitSeq(path[1:], "/") {
		if s == "" || s == "." || s == ".." {
			return true
		}
	}
	return false
}

// labelFilter is the query value that selects objects carrying all the labels, "" for none given.
func labelFilter(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return filter("label", labels...)
}

// filter is a query value of the engine's filters parameter.
func filter(key string, values ...string) string {
	text, _ := json.Marshal(map[string][]string{key: values}) // strings always marshal
	return string(text)
}

// query builds the query of a call from names and values in turn; empty values are left out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// flag is the query value of a switch.
func flag(on bool) string {
	if on {
		return "1"
	}
	return ""
}
