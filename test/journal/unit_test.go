package journal_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// cloud.md 5.6: what units of the host write are system messages with the time of the entry. Over a stop
// of the supervisor, and over the death of the reader, nothing is lost and nothing comes twice. A reader
// runs only for as long as one of the units does.
func TestHostUnits(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{WithoutContainers: true})
	host := s.Boot(map[string]string{"os-update.service": obedient("update"), "other.service": obedient("other")})
	s.Start()

	host.Systemctl("start", "other.service")
	host.Systemctl("start", "os-update.service")
	tell(t, s, "other", "echo of no interest")
	before := time.Now()
	tell(t, s, "update", `echo one; echo "<3>bad"; printf 'bin\001\377\n'; printf 'x%.0s' $(seq 20000); echo; exec sh -c '. /run/update'`)
	one := await(t, cloud, "one")
	if at := time.UnixMilli(one.Timestamp); at.Before(before.Truncate(time.Millisecond)) || at.After(time.Now()) {
		t.Errorf("%s has the time %v, it was written after %v", one.Raw, at, before)
	}
	want := func(l fakecloud.LogLine, doc map[string]any) {
		t.Helper()
		if doc["timestamp"] = l.Doc["timestamp"]; fmt.Sprint(l.Doc) != fmt.Sprint(doc) {
			t.Errorf("got %.300s, want %.300v", l.Raw, doc)
		}
	}
	want(one, map[string]any{"message": "one", "isSystem": true})
	want(await(t, cloud, "bad"), map[string]any{"message": "bad", "isSystem": true, "isStdErr": true})
	want(await(t, cloud, "bin\x01\ufffd"), map[string]any{"message": "bin\x01\ufffd", "isSystem": true})
	harness.Until(t, soon, "the long line", func() error {
		if count(cloud, "xxxxxxx") == 0 {
			return errNotYet
		}
		return nil
	})
	awaitReaders(t, s, 1)

	// The supervisor is away for a while.
	s.Stop()
	tell(t, s, "update", "for i in $(seq 500); do echo meanwhile $i; done; exec sh -c '. /run/update'")
	s.Start()
	await(t, cloud, "meanwhile 500")

	// The reader dies. The next one comes 5 s later.
	awaitReaders(t, s, 1)
	syscall.Kill(readers(s)[0], syscall.SIGKILL)
	tell(t, s, "update", "for i in $(seq 5); do echo orphan $i; done; exec sh -c '. /run/update'")
	await(t, cloud, "orphan 5")
	tell(t, s, "update", "echo last")
	await(t, cloud, "last")
	for prefix, n := range map[string]int{"one": 1, "bad": 1, "bin": 1, "meanwhile": 500, "orphan": 5, "last": 1, "of no interest": 0} {
		if got := count(cloud, prefix); got != n {
			t.Errorf("%d lines %q, want %d", got, prefix, n)
		}
	}
	awaitReaders(t, s, 0) // the unit has ended
}

// cloud.md 5.6, 77: a unit that is described nowhere before it runs, as an update of the host may be,
// starts a reader, unless nobody wants lines.
func TestTransientUnit(t *testing.T) {
	s, cloud := harness.NewManaged(t, harness.Setup{WithoutContainers: true})
	host := s.Boot(nil)
	control := func(value string) {
		t.Helper()
		s.Assign(harness.Target{Config: map[string]string{"RESIN_SUPERVISOR_LOG_CONTROL": value}})
		s.Post("/v1/update", map[string]any{})
		s.WaitSettled(soon)
	}
	s.Start()
	await(t, cloud, "Supervisor starting")
	if pids := readers(s); len(pids) != 0 {
		t.Errorf("readers on a host that has none of the units: %v", pids)
	}
	host.Transient("nvpmodel", "echo heard")
	if l := await(t, cloud, "heard"); !strings.Contains(l.Raw, `"isSystem":true`) {
		t.Error(l.Raw)
	}
	awaitReaders(t, s, 0)
	control("false")
	harness.Until(t, soon, "the end of the stream", func() error {
		if ended, _ := cloud.Streams()[0].Ended(); !ended {
			return errNotYet
		}
		return nil
	})
	host.Transient("nvpmodel", "echo unheard")
	if pids := readers(s); len(pids) != 0 {
		t.Errorf("readers for nobody: %v", pids)
	}
	control("true")
	harness.Until(t, soon, "lines to come again", func() error {
		host.Transient("nvpmodel", "echo again")
		if count(cloud, "again") == 0 {
			return errNotYet
		}
		return nil
	})
	if count(cloud, "unheard") > 0 || count(cloud, "heard") != 1 {
		t.Error("lines came that were for nobody, or twice")
	}
}
