package ledger

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/update/current"
)

// docs/spec/cloud.md 6.6: a request counts until the device has rebooted, also where the clock starts from
// the past; one that somebody else made counts by its time.
func TestRequestOfAReboot(t *testing.T) {
	now := time.Now()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	r := Reboot{ID: "b1", Booted: past, Breadcrumb: filepath.Join(t.TempDir(), "dir", "crumb")}
	f := func(when, id string, booted time.Time, want bool) {
		t.Helper()
		if got := (Reboot{ID: id, Booted: booted, Breadcrumb: r.Breadcrumb}).Requested(); got != want {
			t.Errorf("%s, boot %q: required is %v", when, id, got)
		}
	}
	f("no request", "b1", past, false)
	if err := r.Request(); err != nil {
		t.Fatal(err)
	}
	f("ours, the clock set forward since", "b1", future, true)
	f("ours, after a reboot into the past", "b2", past, false)
	f("ours, boots without names", "", past, true)
	f("ours, boots without names, after the reboot", "", future, false)
	if err := os.Chtimes(r.Breadcrumb, now, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	f("touched by somebody in the next boot", "b2", past, true)
	f("touched before the boot", "b2", future, false)
	for _, text := range []string{"", "17", "x y", "1 b1"} {
		if err := os.WriteFile(r.Breadcrumb, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f("of somebody else, "+text, "b1", past, true)
		f("of somebody else before the boot, "+text, "b1", future, false)
	}
}

// documents is durable storage that is read again.
type documents map[string][]byte

func (d documents) Load(name string, _ int, v any) (bool, error) {
	return d[name] != nil, json.Unmarshal(append([]byte{}, or(d[name])...), v)
}

func or(raw []byte) []byte {
	if raw == nil {
		return []byte("{}")
	}
	return raw
}

func (d documents) Save(name string, _ int, v any) (err error) {
	d[name], err = json.Marshal(v)
	return err
}

// docs/spec/engine.md 5.6: which containers are from before the boot is found once in each boot, and by
// their times alone only when nothing is known of the boot before.
func TestContainersOfAnEarlierBoot(t *testing.T) {
	now := time.Now()
	cur := current.Empty()
	cur.Containers = map[string]*current.Container{
		"old":     {ID: "old", Status: "created", CreatedAt: now.Add(-time.Hour)},
		"new":     {ID: "new", Status: "created", CreatedAt: now.Add(time.Hour)},
		"running": {ID: "running", Status: "running", CreatedAt: now.Add(-time.Hour)},
	}
	b := &Ledger{docs: documents{}}
	f := func(when, id string, want ...string) {
		t.Helper()
		b.Reboot = Reboot{ID: id, Booted: now}
		got, err := b.NotStartedAtBoot(cur)
		if err != nil {
			t.Fatal(err)
		}
		same := len(got) == len(want)
		for _, w := range want {
			same = same && got[w]
		}
		if !same {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	f("first start of all", "b1", "old")
	cur.Containers["older"] = &current.Container{ID: "older", Status: "created", CreatedAt: now.Add(-2 * time.Hour)}
	f("again in the same boot", "b1", "old")
	f("after a reboot", "b2", "old", "new", "older")
	cur.Containers["newer"] = &current.Container{ID: "newer", Status: "created", CreatedAt: now.Add(-time.Hour)}
	f("again in that one", "b2", "old", "new", "older")
	f("boots without names", "", "old", "older", "newer")
}
