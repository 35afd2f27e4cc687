package surface_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// The most that one request may add to the memory of an idle supervisor, in KiB.
const requestBudget = 24 << 10

// zipped is text as gzip.
func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// filled is n bytes: begin, then as often as it fits what part gives for a number, then end.
func filled(n int, begin string, part func(int) string, end string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := 0; ; i++ {
		next := part(i)
		if b.Len()+len(next)+len(end) > n {
			return strings.TrimSuffix(b.String(), ",") + end
		}
		b.WriteString(next)
	}
}

// times is begin, what part gives for n numbers, and end.
func times(n int, begin string, part func(int) string, end string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(part(i))
	}
	return begin + strings.TrimSuffix(b.String(), ",") + end
}

func same(text string) func(int) string { return func(int) string { return text } }

// What is kept of a target (docs/spec/device-api.md 1.5).
const (
	targetBytes  = 2 << 20
	targetValues = 30_000
)

// docs/spec/device-api.md 1.5, 4: 153: what a body costs is bound by what is kept of it, not by what is sent.
func TestNoBodyCostsMuch(t *testing.T) {
	const mib = 1 << 20
	const limit = 10 * mib
	ones := filled(limit, "[", same("1,"), "]")
	names := filled(limit, "{", func(i int) string { return fmt.Sprintf(`"k%d":"v",`, i) }, "}")
	app := func(services string) string {
		return `{"local":{"name":"x","config":{},"apps":{"1":{"name":"a","commit":"aa","releaseId":1,"volumes":{},"networks":{},"services":` + services + `}}}}`
	}
	inLocal := func(value string) string {
		return app(`{"1":{"serviceId":1,"imageId":1,"serviceName":"a","image":"a","running":false,"environment":{},"labels":{},"x":` + value + `}}`)
	}
	service := func(i int) string {
		return fmt.Sprintf(`"%[1]d":{"serviceId":%[1]d,"imageId":%[1]d,"serviceName":"s%[1]d","image":"reg/s%[1]d","running":false,"environment":{"A":"1","B":"2","C":"3","D":"4","E":"5"},"labels":{"l":"1"}},`, i)
	}
	const target = "/v2/local/target-state"
	const restart = "/v1/restart"
	const form = "application/x-www-form-urlencoded"
	for _, c := range []costly{
		{"a list of ones", "POST", restart, "", ones, []int{400}},
		{"a list of ones as tags", "PATCH", "/v2/device/tags", "", ones, []int{500}},
		{"a list of ones on a GET", "GET", "/v1/device", "", ones, []int{200}},
		{"a list of ones on no route", "POST", "/v9/none", "", ones, []int{404}},
		{"a list of ones as target", "POST", target, "", ones, []int{400, 413}},
		{"a list of ones for the host", "PATCH", "/v1/device/host-config", "", ones, []int{400}},
		{"a list of objects", "POST", restart, "", filled(limit, "[", same("{},"), "]"), []int{400}},
		{"a list in a field", "POST", restart, "", `{"appId":99,"x":` + filled(limit-100, "[", same("[1],"), "]") + "}", []int{503}},
		{"many names", "POST", restart, "", names, []int{413}},
		{"many names as tags", "PATCH", "/v2/device/tags", "", names, []int{413}},
		{"many names for the host", "PATCH", "/v1/device/host-config", "", `{"network":` + names[:len(names)-1000] + `:1}}`, []int{400, 413}},
		{"many names in a field", "POST", restart, "", `{"x":` + filled(limit-100, "{", func(i int) string { return fmt.Sprintf(`"k%d":"v",`, i) }, "}") + "}", []int{413}},
		{"many names as target", "POST", target, "", names, []int{400, 413}},
		{"one name, very often", "POST", restart, "", filled(limit, "{", same(`"a":1,`), "}"), []int{413}},
		{"a long text", "POST", restart, "", `{"appId":99,"x":"` + strings.Repeat("a", limit-100) + `"}`, []int{503}},
		{"a long text as tag", "PATCH", "/v2/device/tags", "", `{"x":"` + strings.Repeat("a", limit-100) + `"}`, []int{400}},
		{"long escapes", "POST", restart, "", `{"appId":99,"x":"` + strings.Repeat(`\u0001`, limit/6-100) + `"}`, []int{503}},
		{"a long name", "POST", restart, "", `{"` + strings.Repeat("a", limit-100) + `":1,"appId":99}`, []int{503}},
		{"a long number", "POST", restart, "", `{"appId":` + strings.Repeat("9", limit-100) + `}`, []int{400}},
		{"a long name of the host", "PATCH", "/v1/device/host-config", "", `{"network":{"hostname":"` + strings.Repeat("a", limit-100) + `"}}`, []int{400, 413}},
		{"a long list of the host", "PATCH", "/v1/device/host-config", "", `{"network":{"proxy":{"noProxy":` + filled(limit-100, "[", same(`"a",`), "]") + `}}}`, []int{400, 413}},
		{"deep lists", "POST", restart, "", strings.Repeat("[", limit/2) + strings.Repeat("]", limit/2), []int{400}},
		{"deep objects", "POST", restart, "", strings.Repeat(`{"a":`, limit/6-1) + "1" + strings.Repeat("}", limit/6-1), []int{400}},
		{"blanks", "POST", restart, "", strings.Repeat(" ", limit-100) + `{"appId":99}`, []int{503}},
		{"a form of one field", "POST", restart, form, "appId=99&x=" + strings.Repeat("%01", limit/3-100), []int{413}},
		{"a form of many fields", "POST", restart, form, filled(limit, "", same("a=1&"), ""), []int{413}},
		{"a form of deep fields", "POST", restart, form, filled(limit, "", func(i int) string { return strconv.Itoa(i) + strings.Repeat("[a]", 200) + "=1&" }, ""), []int{413}},
		{"a form of deep fields that fit", "POST", restart, form, filled(250_000, "", func(i int) string { return strconv.Itoa(i) + strings.Repeat("[]", 100) + "=1&" }, ""), []int{400, 413}},
		{"no kind that is read", "POST", restart, "text/plain", ones, []int{400}},
		{"a target with blanks", "POST", target, "", inLocal("1" + strings.Repeat(" ", limit-1000)), []int{200}},
		{"a target with a long text beside it", "POST", target, "", inLocal("1")[:len(inLocal("1"))-1] + `,"x":"` + strings.Repeat("a", limit-1000) + `"}`, []int{200}},
		{"a target with a long text in it", "POST", target, "", inLocal(`"` + strings.Repeat("a", limit-1000) + `"`), []int{413}},
		{"a target with a list of ones", "POST", target, "", inLocal(filled(limit-1000, "[", same("1,"), "]")), []int{413}},
		{"a target with a list of objects", "POST", target, "", inLocal(filled(limit-1000, "[", same(`{"a":1},`), "]")), []int{413}},
		{"a target with many names", "POST", target, "", inLocal(filled(limit-1000, "{", func(i int) string { return fmt.Sprintf(`"k%d":1,`, i) }, "}")), []int{413}},
		{"as many objects as a target has", "POST", target, "", inLocal(times(targetValues/2-100, "{", func(i int) string { return fmt.Sprintf(`"k%d":{"a":1},`, i) }, "}")), []int{200}},
		{"as many names as a target has", "POST", target, "", inLocal(times(targetValues-100, "{", func(i int) string { return fmt.Sprintf(`"k%030d":"v",`, i) }, "}")), []int{200}},
		{"as many services as a target has", "POST", target, "", app(times(2000, "{", func(i int) string { return service(i + 1) }, "}")), []int{200, 400}},
		{"as many parts of a list as a target has", "POST", target, "", inLocal(times(targetValues-100, "[", same(`{},`), "]")), []int{200}},
		{"a text as long as a target has", "POST", target, "", inLocal(`"` + strings.Repeat("a", targetBytes-1000) + `"`), []int{200}},
		{"escapes as long as a target has", "POST", target, "", inLocal(`"` + strings.Repeat(`\u0001`, (targetBytes-1000)/6) + `"`), []int{200}},
		{"as many faults as a target has", "POST", target, "", `{"local":{"name":"x","config":{},"apps":` + times(targetValues-100, "{", func(i int) string { return fmt.Sprintf(`"a%d":{},`, i) }, "}") + `}}`, []int{400}},
		{"as many faults in services", "POST", target, "", app(times(targetValues-100, "{", func(i int) string { return fmt.Sprintf(`"a%d":{},`, i) }, "}")), []int{400}},
		{"as many variables as a target has", "POST", target, "", app(`{"1":{"serviceId":1,"imageId":1,"serviceName":"a","image":"a","running":false,"labels":{},"environment":` + times(targetValues-100, "{", func(i int) string { return fmt.Sprintf(`"A%d":"1",`, i) }, "}") + `}}`), []int{200}},
		{"as much configuration as a target has", "POST", target, "", `{"local":{"name":"x","apps":{},"config":` + times(targetValues-100, "{", func(i int) string { return fmt.Sprintf(`"RESIN_A%d":"1",`, i) }, "}") + `}}`, []int{200}},
	} {
		for _, coding := range []string{"", "gzip"} {
			t.Run(strings.TrimSpace(c.name+" "+coding), func(t *testing.T) {
				peak := int64(0)
				for range 5 { // on a busy machine the collector of garbage comes late
					if peak = costOf(t, c, coding); peak <= requestBudget {
						return
					}
				}
				t.Errorf("%d KiB above idle, the budget is %d", peak, requestBudget)
			})
		}
	}
}

// docs/spec/device-api.md 1.5, 4: 154: clients that stop in the middle of a body keep nobody else's out.
func TestStalledBodiesKeepNobodyOut(t *testing.T) {
	s := bare(t)
	head := "POST /v1/restart?apikey=" + s.Key() + host + "Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n"
	ask := func() harness.Answer {
		return s.Call(harness.Request{Method: "POST", Path: "/v1/restart", Header: map[string]string{"Content-Type": "application/json"},
			Body: `{"appId":99,"x":["` + strings.Repeat("a", 40_000) + `"],"y":"` + strings.Repeat("a", 1<<20) + `"}`})
	}
	const answer = `{"status":"failed","message":"Application with ID 99 is not in the current state"}`
	for _, stalled := range []struct {
		name, body string
		n          int
	}{
		{"two large bodies", strings.Repeat(" ", 1<<20), 2},
		{"two large texts", `{"x":"` + strings.Repeat("a", 1<<20), 2},
		{"many bodies of which much is kept", `{"x":["` + strings.Repeat("a", 40_000), 100},
	} {
		c := newCrowd(t, s)
		c.join(t, stalled.n, func(conn net.Conn) { io.WriteString(conn, head+stalled.body) })
		rest(t, s)
		if stalled.n == 2 {
			if a := ask(); a.Status != 503 || a.Body != answer {
				t.Errorf("beside %s: %d %s", stalled.name, a.Status, a.Body)
			}
		}
		harness.Until(t, harness.Soon, "a body to be read beside "+stalled.name, func() error {
			if a := ask(); a.Status != 503 || a.Body != answer {
				return fmt.Errorf("%d %s", a.Status, a.Body)
			}
			return nil
		})
		c.leave()
	}
}

// costly is a request that may cost much, and the statuses it may have.
type costly struct {
	name, method, path, kind, body string
	status                         []int
}

// costOf is how much memory a request costs a device beyond what it has at rest, in KiB.
func costOf(t *testing.T, c costly, coding string) int64 {
	t.Helper()
	s := bare(t)
	header := map[string]string{"Content-Type": c.kind}
	if c.kind == "" {
		header["Content-Type"] = "application/json"
	}
	body := c.body
	if coding != "" {
		header["Content-Encoding"], body = coding, zipped(body)
	}
	rest(t, s)
	var answer harness.Answer
	peak := s.Process().Peak(t, func() {
		var err error
		answer, err = s.TryCall(harness.Request{Method: c.method, Path: c.path, Body: body, Header: header})
		if err != nil {
			t.Fatal(err)
		}
		rest(t, s)
	})
	s.Stop()
	t.Logf("%d bytes: %d, %d KiB above idle", len(body), answer.Status, peak)
	if !slices.Contains(c.status, answer.Status) {
		t.Errorf("%d %.200s, want %v", answer.Status, answer.Body, c.status)
	}
	return peak
}
