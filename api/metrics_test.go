package api

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/view"
)

// device-api.md 1.8: a service's key sees its own app only.
func TestMetrics(t *testing.T) {
	r := start(t)
	r.change(func(s *view.State) {
		s.Applying, s.Failed = true, true
		s.Apps[0].Name = "sh\"op\\\n"
		old := s.Apps[0].Containers[0]
		old.Running, old.Restarts = false, 3
		s.Apps[0].Containers = append(s.Apps[0].Containers, old)
	})
	r.do(globalTestKey, "GET", "/v1/device", "")
	r.do(globalTestKey, "GET", "/none", "")
	r.raw("GET", "GET /ping HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", maxHead)+"\r\n\r\n")
	got := r.do(globalTestKey, "GET", "/metrics", "")
	if got.status != 200 || got.kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatalf("%d %s", got.status, got.kind)
	}
	for _, line := range []string{
		"# TYPE resin_supervisor_apply_duration_seconds histogram",
		`resin_supervisor_apply_duration_seconds_bucket{le="1"} 3`,
		`resin_supervisor_apply_duration_seconds_bucket{le="5"} 5`,
		`resin_supervisor_apply_duration_seconds_bucket{le="1800"} 6`,
		`resin_supervisor_apply_duration_seconds_bucket{le="+Inf"} 7`,
		"resin_supervisor_apply_duration_seconds_sum 2034.5",
		"resin_supervisor_apply_duration_seconds_count 7",
		"resin_supervisor_step_failures_total 4",
		"resin_supervisor_image_pulls_total 5",
		"resin_supervisor_image_pull_failures_total 1",
		"resin_supervisor_engine_calls_total 678",
		"resin_supervisor_engine_call_errors_total 2",
		"resin_supervisor_engine_up 1",
		"resin_supervisor_update_applying 1",
		"resin_supervisor_update_failed 1",
		"resin_supervisor_memory_resident_bytes 10485760",
		"resin_supervisor_cpu_seconds_total 1.5",
		"resin_supervisor_device_cpu_temperature_celsius 48.3",
		`resin_supervisor_api_requests_total{code="2xx"} 1`,
		`resin_supervisor_api_requests_total{code="4xx"} 2`,
		`resin_supervisor_service_running{app="sh\"op\\\n",app_id="12",service="web"} 1`,
		`resin_supervisor_service_running{app="tool",app_id="13",service="db"} 1`,
		`resin_supervisor_service_restarts_total{app="tool",app_id="13",service="ui"} 0`,
	} {
		if strings.Count(got.body, line+"\n") != 1 {
			t.Errorf("%s is not there once in\n%s", line, got.body)
		}
	}
	if own := r.do(keyOfB, "GET", "/metrics", "").body; !strings.Contains(own, `service="db"`) || strings.Contains(own, `service="web"`) {
		t.Errorf("another app's services are shown:\n%s", own)
	}
	wantReply(t, r.send("GET", "/metrics", ""), 401, "Unauthorized")
	if head := r.do(globalTestKey, "HEAD", "/metrics", ""); head.status != 200 || head.body != "" {
		t.Errorf("HEAD: %v", head)
	}
}

// A scrape leaves no garbage: it uses the buffer of the response again.
func TestScrapeAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops entries at random under the race detector")
	}
	m := newMemory()
	s := newServer(m, m, m, zerolog.Nop(), defaultLimits())
	var resp fasthttp.Response
	var page body = metrics{s.handlers, caller{all: true}}
	state := m.View() // View of the test allocates, the real one does not
	s.handlers.apps = sameView{m, state}
	scrape := func() {
		resp.ResetBody()
		page.(metrics).write(&resp)
	}
	scrape()
	least := testing.AllocsPerRun(20, scrape)
	for range 10 { // other goroutines allocate too, and a garbage collection empties the pools
		least = min(least, testing.AllocsPerRun(20, scrape))
	}
	if least > 1 {
		t.Errorf("a scrape allocates %v times", least)
	}
}

// sameView always returns the same view.
type sameView struct {
	*memory
	state *view.State
}

func (s sameView) View() *view.State { return s.state }
