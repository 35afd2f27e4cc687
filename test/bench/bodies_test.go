package bench

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// requestBudget is the most that one request may add to the memory of an idle supervisor, in KiB.
const requestBudget = 24 << 10

// bodies measures what single requests cost at most, of those with a body that costs much.
func bodies(b *testing.B, t *table) {
	var ones, names, local strings.Builder
	ones.WriteString("[1" + strings.Repeat(",1", 5<<20-10) + "]")
	for i := range 700_000 {
		fmt.Fprintf(&names, `,"k%d":1`, i)
	}
	for i := range 29_900 {
		fmt.Fprintf(&local, `,"k%030d":"v"`, i)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte(ones.String()))
	w.Close()
	target := `{"local":{"name":"x","config":{},"apps":{"1":{"name":"a","commit":"aa","releaseId":1,"volumes":{},"networks":{},"services":{"1":{` +
		`"serviceId":1,"imageId":1,"serviceName":"a","image":"a","running":false,"environment":{},"labels":{},"x":{` + local.String()[1:] + `}}}}}}}`
	for _, c := range []struct{ what, method, path, body, coding string }{
		{"a list of 10 MiB", "POST", "/v1/restart", ones.String(), ""},
		{"the same, packed", "POST", "/v1/restart", packed.String(), "gzip"},
		{"700,000 names", "POST", "/v1/restart", "{" + names.String()[1:] + "}", ""},
		{"700,000 tags", "PATCH", "/v2/device/tags", "{" + names.String()[1:] + "}", ""},
		{"a target of 30,000 values", "POST", "/v2/local/target-state", target, ""},
	} {
		s := harness.StartSupervisor(b, harness.Setup{Engine: harness.SharedEngine(b)})
		s.WaitListed()
		peak := s.Process().Peak(b, func() {
			s.Call(harness.Request{Method: c.method, Path: c.path, Body: c.body,
				Header: map[string]string{"Content-Type": "application/json", "Content-Encoding": c.coding}})
		})
		s.Stop()
		add(t, "the most that a request adds: "+c.what, peak, requestBudget, mebibytes)
	}
}
