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

// answers counts what was answered, by the first digit of the status.
type answers [6]atomic.Uint64

func (a *answers) count(status int) {
	if class := status / 100; class > 0 && class < len(a) {
		a[class].Add(1)
	}
}

// metrics is the body of GET /metrics: what was counted and measured, in Prometheus' text form 0.0.4.
// It is written straight into the response, so that a scrape leaves nothing behind. Of services,
// only those of apps in the caller's scope are told.
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
	m.work(e)
	e.family("api_requests_total", "counter", "Requests to the device API that were answered, by class of status.")
	for class := 1; class < len(m.h.answers); class++ {
		e.sample("api_requests_total", `code="`+classes[class]+`"`, float64(m.h.answers[class].Load()))
	}
	m.services(e)
}

// classes are the classes of status, by first digit.
var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m metrics) process(e exposition) {
	v := m.h.known.Vitals()
	e.family("info", "gauge", "Version of the supervisor.")
	e.add(prefix, `info{version="`, version.String(), "\"} 1\n")
	e.single("start_time_seconds", "gauge", "When the supervisor started, in Unix time.", float64(m.h.began.UnixMilli())/1000)
	e.single("uptime_seconds", "gauge", "For how long the supervisor runs.", time.Since(m.h.began).Seconds())
	e.single("memory_resident_bytes", "gauge", "Memory of the supervisor's process.", float64(v.Resident))
	e.single("cpu_seconds_total", "counter", "Processor time of the supervisor's process.", v.CPU.Seconds())
	e.single("goroutines", "gauge", "Goroutines of the supervisor.", float64(runtime.NumGoroutine()))
	if v.CPUCelsius != 0 {
		e.single("device_cpu_temperature_celsius", "gauge", "Temperature of the device's processor.", v.CPUCelsius)
	}
}

func (m metrics) work(e exposition) {
	c := m.h.apps.Counts()
	const apply = "apply_duration_seconds"
	e.family(apply, "histogram", "Applies that reached the target state, by how long they took.")
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
	e.single("image_pulls_total", "counter", "Images fetched.", float64(c.Pulls))
	e.single("image_pull_failures_total", "counter", "Attempts to fetch an image that failed.", float64(c.PullFailures))
	e.single("engine_calls_total", "counter", "Calls of the container engine.", float64(c.EngineCalls))
	e.single("engine_call_errors_total", "counter", "Calls that the container engine did not answer or could not carry out.", float64(c.EngineErrors))
}

func (m metrics) services(e exposition) {
	state := m.h.apps.View()
	e.single("engine_up", "gauge", "Whether the container engine can be reached.", bit(state.Synced && state.EngineError == ""))
	e.single("update_applying", "gauge", "Whether an apply runs or waits.", bit(state.Applying))
	e.single("update_failed", "gauge", "Whether a step of the update failed or something of the target is refused.", bit(state.Failed))
	e.family("service_running", "gauge", "Whether a container of the service runs.")
	m.each(state, func(app *view.App, c *view.Container) {
		e.service("service_running", app, c, bit(c.Running))
	})
	e.family("service_restarts_total", "counter", "How often a container of the service was started again.")
	m.each(state, func(app *view.App, c *view.Container) {
		e.service("service_restarts_total", app, c, float64(c.Restarts))
	})
}

// each calls f once for every service with a container: with the newest that runs, else the newest.
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

// exposition writes metrics into a response, which owns the buffer.
type exposition struct{ to *fasthttp.Response }

func (e exposition) add(parts ...string) {
	for _, p := range parts {
		e.to.AppendBodyString(p)
	}
}

// number writes v, whole numbers without exponent.
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
