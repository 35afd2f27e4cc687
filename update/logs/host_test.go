package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// units are the units of a test's host: the lines of each reading, and where each reading began.
type units struct {
	readings [][]Output // each but the last one ends with a failure
	from     []string
	at       []time.Time
}

func (u *units) read(_ context.Context, cursor string, since time.Time, fn func(Output)) error {
	if cursor == "" {
		cursor = "since " + since.Format(time.TimeOnly)
	}
	n := len(u.from)
	u.from, u.at = append(u.from, cursor), append(u.at, time.Now())
	if n >= len(u.readings) {
		return nil
	}
	for _, o := range u.readings[n] {
		o.At = time.Now()
		fn(o)
	}
	if n == len(u.readings)-1 {
		return nil
	}
	return errors.New("cut")
}

// cloud.md 5.6: lines of host units are system messages. A reader that fails is started again with a back-off of up to a
// quarter of an hour, which any output resets. A reader that ends without an error is not started again.
func TestHostUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		place := func(cursor string) *string { return &cursor }
		u := &units{readings: [][]Output{{
			{Text: []byte("one"), Cursor: place("c1")},
			{Text: []byte("two"), Cursor: place("c2"), Stderr: true},
		}}}
		u.readings = append(u.readings, make([][]Output, 10)...)
		u.readings = append(u.readings, []Output{{Text: []byte("three"), Cursor: place("c3")}}, nil)
		o := b.options()
		o.ReadHost = u.read
		began := time.Now()
		r := launch(t, o)
		time.Sleep(time.Hour)
		if len(u.from) != 0 {
			t.Error("the host was read before a unit started")
		}
		r.AttachHost()
		time.Sleep(3 * time.Hour)
		b.want(t, "one", "two", "three")
		var waits []string
		for i, at := range u.at[1:] {
			waits = append(waits, fmt.Sprint(at.Sub(u.at[i])))
		}
		want := []string{"5s", "10s", "20s", "40s", "1m20s", "2m40s", "5m20s", "10m40s", "15m0s", "15m0s", "15m0s", "5s"}
		if !slices.Equal(waits, want) {
			t.Errorf("read again after %v, want %v", waits, want)
		}
		if u.from[0] != "since "+began.Format(time.TimeOnly) || u.from[1] != "c2" || u.from[len(u.from)-1] != "c3" {
			t.Errorf("read from %q", u.from)
		}
		for _, m := range b.cloud.all() {
			for _, line := range m.lines(t) {
				if line["isSystem"] != true || line["serviceId"] != nil || (line["isStdErr"] == true) != (line["message"] == "two") {
					t.Errorf("got %v", line)
				}
			}
		}
		n := len(u.from)
		r.AttachHost()
		time.Sleep(time.Minute)
		r.stop()
		r = launch(t, o) // units may have run while it was stopped
		time.Sleep(time.Minute)
		if got := u.from[n:]; !slices.Equal(got, []string{"c3", "c3"}) {
			t.Errorf("read from %q", got)
		}
		r.SetMode(Nowhere)
		r.AttachHost()
		time.Sleep(time.Minute)
		if len(u.from) != n+2 {
			t.Error("read for nobody")
		}
		r.stop()
	})
}

// cloud.md 5.7: in local mode the units are read for listeners, and not read while there is none.
func TestHostUnitsOfLocalMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cursor := "c1"
		u := &units{readings: [][]Output{{{Text: []byte("one"), Cursor: &cursor}}}}
		b := newBench(t)
		o := b.options()
		o.Mode, o.ReadHost = ToListeners, u.read
		r := launch(t, o)
		r.AttachHost()
		time.Sleep(time.Minute)
		if len(u.from) != 0 {
			t.Error("read for nobody")
		}
		l := r.Listen(everything)
		for _, want := range []string{
			`{"message":"Streaming logs","isSystem":true}`,
			fmt.Sprintf(`{"message":"one","isSystem":true,"timestamp":%d}`, time.Now().UnixMilli()),
		} {
			if got, err := l.Next(t.Context()); err != nil || string(got) != want+"\n" {
				t.Errorf("got %s %v, want %s", got, err, want)
			}
		}
		l.Close()
		r.stop()
	})
}
