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

// request is one call of the engine's API.
type request struct {
	op            string // the operation, for errors
	object        string // its object, for errors; "" when the call is not about a single object
	method        string
	path          string // without the API version, not escaped
	query         url.Values
	auth          *doc.AuthConfig // nil: no X-Registry-Auth header
	body          any             // sent as JSON; nil: no body
	archive       io.Reader       // a tar file, sent instead of body; nil: none
	timeout       time.Duration   // of the whole call; 0: only the context ends it
	allowedStatus []int           // success, as 2xx is
}

// get is a call that reads something.
func get(op, path string, q url.Values) request {
	return request{op: op, method: fasthttp.MethodGet, path: path, query: q, timeout: readTimeout}
}

// post is a call that changes something.
func post(op, path string, q url.Values, body any) request {
	return request{op: op, method: fasthttp.MethodPost, path: path, query: q, body: body, timeout: changeTimeout}
}

// remove is a call that deletes something. It succeeds if there is nothing to delete.
func remove(op, path string, q url.Values) request {
	r := post(op, path, q, nil)
	r.method = fasthttp.MethodDelete
	return r.allow(fasthttp.StatusNotFound)
}

// about sets the object of a call.
func (r request) about(object string) request {
	r.object = object
	return r
}

// allow sets the statuses that are success, as 2xx is.
func (r request) allow(status ...int) request {
	r.allowedStatus = status
	return r
}

// within sets the timeout of the whole call; with 0 only the context ends it.
func (r request) within(timeout time.Duration) request {
	r.timeout = timeout
	return r
}

// accepts reports whether the status means success.
func (r request) accepts(status int) bool {
	return status >= 200 && status < 300 || slices.Contains(r.allowedStatus, status)
}

// fail is the error of this call.
func (r request) fail(status int, message string) *Error {
	return &Error{Op: r.op, Object: r.object, Status: status, Message: message}
}

// encode builds the HTTP request; prefix is the API version.
func (r request) encode(prefix string) (*fasthttp.Request, error) {
	if changesPath(r.path) {
		return nil, r.fail(fasthttp.StatusBadRequest, "name is empty or not allowed")
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

// uri is the target of the request line. Slash, colon and at sign of image names are not escaped.
func (r request) uri(prefix string) string {
	u := url.URL{Path: prefix + r.path, RawQuery: r.query.Encode()}
	return u.RequestURI()
}

// changesPath reports whether the path has a segment that the engine would drop. Without a name, a call on one object would
// become a call on all of them.
func changesPath(path string) bool {
	for s := range strings.SplitSeq(path[1:], "/") {
		if s == "" || s == "." || s == ".." {
			return true
		}
	}
	return false
}

// labelFilter is the query value that selects objects with all the labels; "" without labels.
func labelFilter(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return filter("label", labels...)
}

// filter is a value of the engine's filters parameter.
func filter(key string, values ...string) string {
	text, _ := json.Marshal(map[string][]string{key: values}) // strings always marshal
	return string(text)
}

// query builds a query from names and values in turn. It skips empty values.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// flag is the query value of a boolean.
func flag(on bool) string {
	if on {
		return "1"
	}
	return ""
}
