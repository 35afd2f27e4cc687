package api

import (
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/build/version"
	"resin-supervisor/update/view"
)

// answerCounts counts answers by the first digit of their status.
type answerCounts [6]atomic.Uint64

func (a *answerCounts) count(status int) {
	if class := status / 100; class > 0 && class < len(a) {
		a[class].Add(1)
	}
}

// metrics is the body of GET /metrics, in the Prometheus text format 0.0.4. It shows only services of apps in the
// caller's scope. It is written straight into the response, so a scrape leaves no garbage.
type metrics struct {
	h      *handlers
	caller caller
}

func (metrics) contentType() string { return "text/plain; version=0.0.4; charset=utf-8" }

func (h *handlers) metrics(c *call) Answer {
	return Answer{fasthttp.StatusOK, metrics{h, c.caller}}
}

func (m metrics) write(to *fasthttp.Response) {
	e := exposition{to}
	m.process(e)
	m.applies(e)
	e.family("api_requests_total", "counter", "Requests that the device API answered, by class of status.")
	for class := 1; class < len(m.h.answers); class++ {
		e.sample("api_requests_total", `code="`+classes[class]+`"`, float64(m.h.answers[class].Load()))
	}
	m.services(e)
}

// classes are the classes of status, by first digit.
var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m metrics) process(e exposition) {
	v := m.h.dev.Vitals()
	e.family("info", "gauge", "Version of the supervisor.")
	e.add(prefix, `info{version="`, version.String(), "\"} 1\n")
	e.single("start_time_seconds", "gauge", "When the supervisor started, in Unix time.", float64(m.h.started.UnixMilli())/1000)
	e.single("uptime_seconds", "gauge", "How long the supervisor has been running.", time.Since(m.h.started).Seconds())
	e.single("memory_resident_bytes", "gauge", "Resident memory of the supervisor's process.", float64(v.Resident))
	e.single("cpu_seconds_total", "counter", "Processor time of the supervisor's process.", v.CPU.Seconds())
	e.single("goroutines", "gauge", "Goroutines of the supervisor.", float64(runtime.NumGoroutine()))
	if v.CPUCelsius != 0 {
		e.single("device_cpu_temperature_celsius", "gauge", "Temperature of the device's processor.", v.CPUCelsius)
	}
}

func (m metrics) applies(e exposition) {
	c := m.h.apps.Counts()
	const apply = "apply_duration_seconds"
	e.family(apply, "histogram", "Durations of the applies that reached the target state.")
	sum := uint64(0)
	for i, bound := range view.ApplyBounds {
		sum += c.Applies[i]
		e.add(prefix, apply, `_bucket{le="`)
		e.number(float64(bound))
		e.add("\"} ")
		e.number(float64(sum))
		e.add("\n")
	}
	sum += c.Applies[len(view.ApplyBounds)]
	e.sample(apply+"_bucket", `le="+Inf"`, float64(sum))
	e.sample(apply+"_sum", "", c.ApplySeconds)
	e.sample(apply+"_count", "", float64(sum))
	e.single("step_failures_total", "counter", "Steps of applies that failed.", float64(c.StepFailures))
	e.single("image_pulls_total", "counter", "Images downloaded.", float64(c.Pulls))
	e.single("image_pull_failures_total", "counter", "Attempts to download an image that failed.", float64(c.PullFailures))
	e.single("engine_calls_total", "counter", "Calls to the container engine.", float64(c.EngineCalls))
	e.single("engine_call_errors_total", "counter", "Calls to the container engine that failed or got no answer.", float64(c.EngineErrors))
}

func (m metrics) services(e exposition) {
	state := m.h.apps.View()
	e.single("engine_up", "gauge", "Whether the container engine can be reached.", bit(state.Synced && state.EngineError == ""))
	e.single("update_applying", "gauge", "Whether an apply is running or waiting.", bit(state.Applying))
	e.single("update_failed", "gauge", "Whether a step of the update failed, or a part of the target state is refused.", bit(state.Failed))
	e.family("service_running", "gauge", "Whether a container of the service runs.")
	m.each(state, func(app *view.App, c *view.Container) {
		e.service("service_running", app, c, bit(c.Running))
	})
	e.family("service_restarts_total", "counter", "How often a container of the service was restarted.")
	m.each(state, func(app *view.App, c *view.Container) {
		e.service("service_restarts_total", app, c, float64(c.Restarts))
	})
}

// each calls f once for every service with a container: with the newest running container, else the newest one.
func (m metrics) each(state *view.State, f func(*view.App, *view.Container)) {
	for i := range state.Apps {
		app := &state.Apps[i]
		if !m.caller.covers(app.ID) {
			continue
		}
		list := app.Containers
		for begin := 0; begin < len(list); {
			last := begin
			end := begin + 1
			for ; end < len(list) && list[end].ServiceName == list[begin].ServiceName; end++ {
				if list[end].Running || !list[last].Running {
					last = end
				}
			}
			f(app, &list[last])
			begin = end
		}
	}
}

func bit(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// prefix begins the name of every metric.
const prefix = "resin_supervisor_"

// exposition writes metrics into the buffer of a response.
type exposition struct{ to *fasthttp.Response }

func (e exposition) add(parts ...string) {
	for _, p := range parts {
		e.to.AppendBodyString(p)
	}
}

// number writes v without an exponent.
func (e exposition) number(v float64) {
	var digits [32]byte
	e.to.AppendBody(strconv.AppendFloat(digits[:0], v, 'f', -1, 64))
}

func (e exposition) family(name, kind, help string) {
	e.add("# HELP ", prefix, name, " ", help, "\n# TYPE ", prefix, name, " ", kind, "\n")
}

func (e exposition) sample(name, label string, v float64) {
	e.add(prefix, name)
	if label != "" {
		e.add("{", label, "}")
	}
	e.add(" ")
	e.number(v)
	e.add("\n")
}

func (e exposition) single(name, kind, help string, v float64) {
	e.family(name, kind, help)
	e.sample(name, "", v)
}

func (e exposition) service(name string, app *view.App, c *view.Container, v float64) {
	e.add(prefix, name, `{app="`)
	e.escaped(app.Name)
	e.add(`",app_id="`)
	e.number(float64(app.ID))
	e.add(`",service="`)
	e.escaped(c.ServiceName)
	e.add("\"} ")
	e.number(v)
	e.add("\n")
}

// escaped writes the value of a label: valid UTF-8 with backslash, quote and line feed escaped.
func (e exposition) escaped(s string) {
	for s != "" {
		i := strings.IndexAny(s, "\"\\\n")
		if i < 0 {
			break
		}
		e.add(s[:i])
		if s[i] == '\n' {
			e.add(`\n`)
		} else {
			e.add(`\`, s[i:i+1])
		}
		s = s[i+1:]
	}
	e.add(s)
}
