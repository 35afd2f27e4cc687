// Package settings_test proves what configuration variables do to a device of a cloud, and how
// config.json is treated (spec/cloud.md 1 and 6).
package settings_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

const soon = 30 * time.Second

// vars is a configuration.
type vars map[string]string

// device is a started device of a cloud, and what its log said so far, over all its starts.
type device struct {
	*harness.Supervisor
	t     *testing.T
	cloud *fakecloud.Cloud
}

// managed is a device that is registered; it has no target yet.
func managed(t *testing.T, setup harness.Setup) *device {
	t.Helper()
	setup.Engine, setup.Cloud = harness.SharedEngine(t), &fakecloud.Cloud{}
	s := harness.NewSupervisor(t, setup)
	d := &device{s, t, setup.Cloud}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the device said:\n%s", strings.Join(d.said(), "\n"))
		}
	})
	return d
}

// configure gives the device a target of its cloud with this configuration.
func (d *device) configure(config vars, apps ...harness.App) {
	d.t.Helper()
	d.Assign(harness.Target{Config: config, Apps: apps})
}

// set configures the device and has it ask its cloud for that.
func (d *device) set(config vars, apps ...harness.App) {
	d.t.Helper()
	d.configure(config, apps...)
	d.poll()
}

// poll has the device ask its cloud now.
func (d *device) poll() {
	d.t.Helper()
	before := d.polls()
	harness.Until(d.t, soon, "a poll for the configuration", func() error {
		d.Post("/v1/update", nil)
		if d.polls() <= before {
			return errors.New("none")
		}
		return nil
	})
}

// said are the messages of the agent in the cloud's log streams.
func (d *device) said() []string {
	var texts []string
	for _, s := range d.cloud.Streams() {
		for _, l := range s.Lines() {
			texts = append(texts, l.Message)
		}
	}
	return texts
}

// hear waits until the device said something so many times.
func (d *device) hear(text string, times int) {
	d.t.Helper()
	harness.Until(d.t, soon, fmt.Sprintf("%q %d times", text, times), func() error {
		if n := d.count(text); n != times {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
}

func (d *device) count(text string) (n int) {
	for _, s := range d.said() {
		if s == text {
			n++
		}
	}
	return n
}

// config is the device's config.json.
func (d *device) config() map[string]any {
	d.t.Helper()
	doc := map[string]any{}
	if err := json.Unmarshal([]byte(d.ReadFile("boot/config.json")), &doc); err != nil {
		d.t.Fatal(err)
	}
	return doc
}

// shown is the configuration that the device API shows.
func (d *device) shown() vars {
	d.t.Helper()
	var answer struct {
		State struct{ Local struct{ Config vars } }
	}
	d.Get("/v2/local/target-state").JSON(d.t, &answer)
	return answer.State.Local.Config
}

// polled waits for another answered poll than those until now.
func (d *device) polled() {
	d.t.Helper()
	before := d.polls()
	harness.Until(d.t, soon, "another poll", func() error {
		if n := d.polls(); n <= before {
			return fmt.Errorf("%d polls", n)
		}
		return nil
	})
}

func (d *device) polls() (n int) {
	for _, r := range d.cloud.Calls(fakecloud.State) {
		if slices.Contains([]int{200, 304}, r.Status) {
			n++
		}
	}
	return n
}
