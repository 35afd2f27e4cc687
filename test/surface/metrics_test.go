package surface_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"resin-supervisor/test/harness"
)

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, s *harness.Supervisor) map[string]*dto.MetricFamily {
	t.Helper()
	answer := s.Get("/metrics")
	if answer.Status != 200 || expfmt.ResponseFormat(answer.Header).FormatType() != expfmt.TypeTextPlain {
		t.Fatalf("%d %v", answer.Status, answer.Header)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(answer.Body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, answer.Body)
	}
	for name, f := range families {
		if f.GetHelp() == "" || f.GetType() == dto.MetricType_UNTYPED || !strings.HasPrefix(name, "resin_supervisor_") {
			t.Errorf("%s has help %q and type %v", name, f.GetHelp(), f.GetType())
		}
		seen := map[string]bool{}
		for _, m := range f.Metric {
			if labels := fmt.Sprint(m.Label); seen[labels] {
				t.Errorf("%s %s is there twice", name, labels)
			} else {
				seen[labels] = true
			}
		}
	}
	return families
}

// value is a metric's value; labels are pairs that it must have.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	f := families["resin_supervisor_"+name]
	if f == nil {
		return -1
	}
	for _, m := range f.Metric {
		have := map[string]string{}
		for _, l := range m.Label {
			have[l.GetName()] = l.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && have[labels[i]] == labels[i+1]
		}
		if fits {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return -1
}

// Metrics are well-formed, and count what happens on a real engine.
func TestMetricsCountWhatHappens(t *testing.T) {
	image := harness.SharedRegistry(t).Push(t, harness.ServerImage("surface/pulled:v1"))
	s := harness.StartSupervisor(t, harness.Setup{WithProxy: true})
	s.WaitListed()
	before := scrape(t, s)
	target := shop(t)
	target.Apps[0].Services[1].Image = image.Name
	s.Apply(target)
	after := scrape(t, s)
	more := func(want float64, name string, labels ...string) {
		t.Helper()
		if got := value(after, name, labels...) - max(value(before, name, labels...), 0); got != want {
			t.Errorf("%s %v: %v more, want %v", name, labels, got, want)
		}
	}
	applies := func(when string) {
		t.Helper()
		if value(after, "apply_duration_seconds") <= value(before, "apply_duration_seconds") {
			t.Errorf("%s is not among the applies", when)
		}
	}
	more(1, "image_pulls_total")
	more(0, "image_pull_failures_total")
	applies("the first target")
	more(0, "step_failures_total")
	web := []string{"app", "shop", "app_id", "31", "service", "web"}
	more(1, "service_running", web...)
	more(0, "service_restarts_total", web...)
	harness.Until(t, harness.Soon, "as many engine calls as the proxy saw", func() error {
		if calls := value(scrape(t, s), "engine_calls_total"); calls != float64(s.Proxy.Total()) {
			return fmt.Errorf("%v, the proxy saw %d", calls, s.Proxy.Total())
		}
		return nil
	})
	if sum := after["resin_supervisor_apply_duration_seconds"].Metric[0].GetHistogram().GetSampleSum(); sum <= 0 || sum > 120 {
		t.Errorf("applies took %v seconds", sum)
	}
	if memory := value(after, "memory_resident_bytes"); memory < 1<<20 || memory > 64<<20 {
		t.Errorf("%v bytes of memory", memory)
	}
	if value(after, "info", "version", s.Device().SupervisorVersion) != 1 || value(after, "engine_up") != 1 {
		t.Error("version or engine is not told")
	}

	before = after
	for range 3 {
		s.Call(harness.Request{Method: http.MethodGet, Path: "/none"})
	}
	s.Post("/v2/applications/31/stop-service", map[string]any{"serviceName": "web"}).Want(t, 200, "OK")
	s.Post("/v2/applications/31/start-service", map[string]any{"serviceName": "web"}).Want(t, 200, "OK")
	harness.Until(t, harness.Soon, "the restart to be counted", func() error {
		if after = scrape(t, s); value(after, "service_restarts_total", web...) != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	more(3, "api_requests_total", "code", "4xx")
	more(0, "service_restarts_total", "service", "db")

	before = after
	s.Proxy.Spoil("POST /containers/create", harness.Fail, 0, 1)
	target.Apps[0] = target.Apps[0].Released("aaaa2", 12)
	target.Apps[0].Services[1] = target.Apps[0].Services[1].Setting("A", "1")
	s.Apply(target)
	after = scrape(t, s)
	more(1, "step_failures_total")
	more(1, "engine_call_errors_total")
	applies("the second target")
}
