package userlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// Voice puts a message of the agent into the log of the device. It does not wait.
type Voice func(text string, stderr bool)

// NewVoice is the voice that calls say, silent when say is nil.
func NewVoice(say func(text string, stderr bool)) Voice {
	if say == nil {
		return func(string, bool) {}
	}
	return say
}

// Event says what happened to an object, and what went wrong if err is not nil. An empty event is not said.
func (v Voice) Event(event, object string, err error) {
	if event == "" {
		return
	}
	if object != "" {
		event += " '" + object + "'"
	}
	if err != nil {
		event += " due to '" + Cause(err) + "'"
	}
	v(event, err != nil)
}

// Cause is the text of an error for users.
func Cause(err error) string {
	if text := err.Error(); text != "" {
		return text
	}
	return "Unknown cause"
}

// Locked says that an app waits for an update lock.
func (v Voice) Locked(wait time.Duration, err error) {
	v(fmt.Sprintf("Updates are locked, retrying in %s. Reason: %v", compact(wait), err), false)
}

// compact writes a duration as its largest unit alone: 2s, 1m.
func compact(d time.Duration) string {
	d = d.Round(time.Millisecond)
	for _, u := range [...]struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= u.size {
			return fmt.Sprintf("%d%s", d/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// Contracts says which services the device cannot run (docs/spec/cloud.md 3.8). The problems are those of s.
func (v Voice) Contracts(s *target.State, problems []target.Problem) {
	rejected := ""
	for _, p := range problems {
		if s.Apps[p.App].Rejected == "" {
			v(p.Text, true)
			continue
		}
		rejected += "\n  " + p.Text
	}
	if rejected != "" {
		v("Some releases were rejected due to having unmet requirements:"+rejected, true)
	}
}

// InvalidTarget says what is wrong with a target. A contract that cannot be read says so itself.
func (v Voice) InvalidTarget(lines []string) {
	var rest []string
	for _, line := range lines {
		if strings.HasPrefix(line, "The contract for service ") {
			v(NotMoved+line, true)
			continue
		}
		rest = append(rest, strings.Split(line, "\n")...)
	}
	if len(rest) == 0 {
		return
	}
	v(NotMoved+"Invalid target state.", true)
	for _, line := range rest {
		v(line, true)
	}
}

// Changes is the JSON of changes in messages: name to new value.
func Changes(changes []settings.Change) string {
	values := make(map[string]string, len(changes))
	for _, c := range changes {
		values[c.Name] = c.New
	}
	return JSON(values)
}

// JSON is the JSON of values in messages. Only what JSON forbids is escaped.
func JSON(values map[string]string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(values) // texts always encode
	return strings.TrimSuffix(out.String(), "\n")
}
